#include "model/tokenizer_sentencepiece.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "model/sentencepiece_library.h"
#include "model/tokenizer_added.h"
#include "model/tokenizer_pieces.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

// ModelProto.normalizer_spec (field 3) with add_dummy_prefix (field 3) = false. Behind the file's
// own bytes it is merged into what they say, as protocol buffers do with a message that comes
// twice.
constexpr char kNoDummyPrefix[] = "\x1a\x02\x18\x00";

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<PieceModel> pieces, TokenizerConfig config)
      : pieces_(std::move(pieces)), config_(std::move(config)), added_(config_.added) {}

  absl::Status ResolveSpecials(absl::string_view where);

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              bool add_special) const override;
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  int32_t bos_id() const override { return bos_id_; }
  int32_t eos_id() const override { return eos_id_; }
  int32_t TokenId(absl::string_view token) const override;
  absl::string_view chat_template() const override { return config_.chat_template; }

 private:
  bool IsSpecial(int32_t id) const;

  const std::unique_ptr<const PieceModel> pieces_;
  const TokenizerConfig config_;
  const AddedTokens added_;
  absl::flat_hash_map<std::string, int32_t> added_ids_;
  absl::flat_hash_map<int32_t, AddedToken>
      beyond_;  // added tokens that the model file does not have
  int64_t vocab_size_ = 0;
  int32_t bos_id_ = -1, eos_id_ = -1;
  bool add_bos_ = true, add_eos_ = false;
};

absl::Status SentencePieceTokenizer::ResolveSpecials(absl::string_view where) {
  vocab_size_ = pieces_->size();
  for (const AddedToken& token : config_.added) {
    added_ids_[token.content] = token.id;
    if (token.id >= pieces_->size()) beyond_[token.id] = token;
    vocab_size_ = std::max<int64_t>(vocab_size_, int64_t{token.id} + 1);
  }
  bos_id_ = config_.bos_token.empty() ? pieces_->bos_id() : TokenId(config_.bos_token);
  eos_id_ = config_.eos_token.empty() ? pieces_->eos_id() : TokenId(config_.eos_token);
  add_bos_ = config_.add_bos.value_or(bos_id_ >= 0);
  add_eos_ = config_.add_eos.value_or(false);
  for (const auto& [add, id, name] :
       {std::tuple{add_bos_, bos_id_, "bos"}, std::tuple{add_eos_, eos_id_, "eos"}})
    if (add && id < 0)
      return InvalidArgument("add_", name, "_token: expected a ", name,
                             "_token with it, got none (", where, ")");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> SentencePieceTokenizer::Encode(absl::string_view text,
                                                                    bool add_special) const {
  ISTHMUS_RETURN_IF_ERROR(CheckUtf8(text));
  std::vector<int32_t> ids;
  if (add_special && add_bos_) ids.push_back(bos_id_);
  for (const Segment& segment : added_.Split(text)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    const std::string part(text.substr(segment.begin, segment.end - segment.begin));
    if (!pieces_->Encode(part, &ids))
      return InvalidArgument("text: expected one that sentencepiece can encode, got ", part.size(),
                             " bytes it cannot");
  }
  if (add_special && add_eos_) ids.push_back(eos_id_);
  return ids;
}

bool SentencePieceTokenizer::IsSpecial(int32_t id) const {
  if (id == bos_id_ || id == eos_id_) return true;
  const auto found = beyond_.find(id);
  if (found != beyond_.end()) return found->second.special;
  return pieces_->IsSpecial(id);
}

std::string SentencePieceTokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::string text;
  std::vector<int32_t> run;  // what belongs together: bytes of a character, the space in front
  const auto flush = [&] {
    if (!run.empty()) text += pieces_->Decode(run);
    run.clear();
  };
  for (const int32_t id : ids) {
    const bool known = id >= 0 && (id < pieces_->size() || beyond_.contains(id));
    if (!known || (skip_special && IsSpecial(id))) continue;
    const auto added = beyond_.find(id);
    if (added == beyond_.end() && !IsSpecial(id)) {
      run.push_back(id);
      continue;
    }
    flush();
    text += added != beyond_.end() ? added->second.content : pieces_->Text(id);
  }
  flush();
  return text;
}

int32_t SentencePieceTokenizer::TokenId(absl::string_view token) const {
  const auto added = added_ids_.find(token);
  if (added != added_ids_.end()) return added->second;
  // The library answers with the unknown piece for what it does not have.
  const int id = pieces_->Find(std::string(token));
  const bool exact = id >= 0 && id < pieces_->size() && pieces_->Text(id) == std::string(token);
  return exact ? id : -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseSentencePiece(absl::string_view bytes,
                                                              TokenizerConfig config,
                                                              absl::string_view where) {
  std::string model(bytes);
  // The older ("legacy") tokenizer takes the model file's word on the space in front of a text.
  if (!config.legacy && !config.add_prefix_space)
    model.append(kNoDummyPrefix, sizeof kNoDummyPrefix - 1);
  if (SentencePieceLibrary::Get() == nullptr)
    return Unimplemented(
        "tokenizer.model: expected libsentencepiece.so.0 on this machine, got none (", where, ")");
  std::unique_ptr<PieceModel> pieces = PieceModel::Parse(model);
  if (pieces == nullptr)
    return InvalidArgument("tokenizer.model: expected a sentencepiece model, got a damaged file (",
                           where, ")");
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(std::move(pieces), std::move(config));
  ISTHMUS_RETURN_IF_ERROR(tokenizer->ResolveSpecials(where));
  return tokenizer;
}

}  // namespace isthmus
