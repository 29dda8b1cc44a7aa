#include "model/tokenizer.h"

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "model/tokenizer_config.h"
#include "model/tokenizer_json.h"
#include "model/tokenizer_sentencepiece.h"
#include "model/tokenizer_sibling.h"

namespace isthmus {
namespace {

constexpr int64_t kMaxTokenizerBytes = int64_t{1} << 28;
constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Open(const std::string& model_directory) {
  const std::string json_path = model_directory + "/tokenizer.json";
  const absl::StatusOr<std::string> json = ReadFile(json_path, kMaxTokenizerBytes);
  if (!json.ok() && !absl::IsNotFound(json.status())) return json.status();
  const std::string model_path = model_directory + "/tokenizer.model";
  if (json.ok()) {
    ISTHMUS_ASSIGN_OR_RETURN(TokenizerConfig config, ReadTokenizerConfig(model_directory));
    return ParseTokenizerJson(*json, std::move(config), json_path);
  }
  const absl::StatusOr<std::string> model = ReadFile(model_path, kMaxTokenizerBytes);
  if (absl::IsNotFound(model.status())) {
    if (const auto sibling = SiblingWithTokenizer(model_directory); sibling.has_value()) {
      LogInfo("model", "tokenizer of ", *sibling, ": ", model_directory, " has none of its own");
      return Open(*sibling);
    }
    return NotFound("tokenizer: expected tokenizer.json or tokenizer.model, got neither (",
                    model_directory, ")");
  }
  if (!model.ok()) return model.status();
  ISTHMUS_ASSIGN_OR_RETURN(TokenizerConfig config, ReadTokenizerConfig(model_directory));
  return ParseSentencePiece(*model, std::move(config), model_path);
}

// ids_ is a window: the tokens of the last text given out (its first read_ ones) and those since.
// Both decodings begin at the same token, so whatever a decoder does to the first token falls out
// of the difference.
std::string StreamDecoder::Push(int32_t id) {
  ids_.push_back(id);
  const std::string text = tokenizer_->Decode(ids_);
  // The last character may still miss bytes.
  if (absl::EndsWith(text, kReplacement) || !absl::StartsWith(text, sent_) ||
      text.size() == sent_.size())
    return "";
  std::string fresh = text.substr(sent_.size());
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(read_));
  read_ = ids_.size();
  sent_ = tokenizer_->Decode(ids_);
  return fresh;
}

std::string StreamDecoder::Flush() {
  const std::string text = tokenizer_->Decode(ids_);
  std::string fresh = absl::StartsWith(text, sent_) ? text.substr(sent_.size()) : "";
  read_ = ids_.size();
  sent_ = text;
  return fresh;
}

}  // namespace isthmus
