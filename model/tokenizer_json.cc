#include "model/tokenizer_json.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "model/json.h"
#include "model/tokenizer_added.h"
#include "model/tokenizer_bpe.h"
#include "model/tokenizer_steps.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

struct KnownToken {
  std::string text;
  bool special = false;
};

class JsonTokenizer : public Tokenizer {
 public:
  JsonTokenizer(Bpe bpe, TokenizerConfig config)
      : bpe_(std::move(bpe)), config_(std::move(config)) {}

  absl::Status Read(const Json& root, absl::string_view where);

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              bool add_special) const override;
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  int32_t bos_id() const override { return bos_id_; }
  int32_t eos_id() const override { return eos_id_; }
  int32_t TokenId(absl::string_view token) const override;
  absl::string_view chat_template() const override { return config_.chat_template; }

 private:
  absl::Status ReadAddedTokens(const Json& root, absl::string_view where);
  absl::Status ReadPostProcessor(const Json* step, absl::string_view where);
  absl::Status ReadTemplate(const Json& step, absl::string_view where);
  absl::Status ResolveSpecials(absl::string_view where);
  absl::StatusOr<std::string> Normalized(std::string text) const;
  absl::Status EncodeText(absl::string_view text, bool at_start, std::vector<int32_t>* ids) const;
  absl::Status EncodeNormal(std::string text, bool at_start, std::vector<int32_t>* ids) const;

  const Bpe bpe_;
  const TokenizerConfig config_;
  std::vector<NormalizeStep> normalizer_;
  std::vector<SplitStep> pre_tokenizer_;
  std::vector<DecodeStep> decoder_;
  AddedTokens raw_added_;     // looked for in the text as it came
  AddedTokens normal_added_;  // looked for after normalisation
  absl::flat_hash_map<int32_t, KnownToken> tokens_;
  absl::flat_hash_map<std::string, int32_t> added_ids_;
  std::vector<int32_t> prefix_, suffix_;  // around a text when special tokens are added
  int64_t vocab_size_ = 0;
  int32_t bos_id_ = -1, eos_id_ = -1;
};

absl::Status JsonTokenizer::Read(const Json& root, absl::string_view where) {
  for (const auto& [text, id] : bpe_.vocab()) tokens_[id] = {text, false};
  ISTHMUS_RETURN_IF_ERROR(ReadNormalizer(FindMember(root, "normalizer"), where, &normalizer_));
  ISTHMUS_RETURN_IF_ERROR(
      ReadPreTokenizer(FindMember(root, "pre_tokenizer"), where, &pre_tokenizer_));
  ISTHMUS_RETURN_IF_ERROR(ReadDecoder(FindMember(root, "decoder"), where, &decoder_));
  ISTHMUS_RETURN_IF_ERROR(ReadAddedTokens(root, where));
  ISTHMUS_RETURN_IF_ERROR(ReadPostProcessor(FindMember(root, "post_processor"), where));
  for (const auto& [id, token] : tokens_) vocab_size_ = std::max<int64_t>(vocab_size_, id + 1);
  return ResolveSpecials(where);
}

absl::Status JsonTokenizer::ReadAddedTokens(const Json& root, absl::string_view where) {
  if (FindMember(root, "added_tokens") == nullptr) return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(const Json* list, GetArray(root, "added_tokens", where));
  std::vector<AddedToken> raw, normal;
  for (const Json& entry : *list) {
    ISTHMUS_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(entry, -1, where));
    added_ids_[token.content] = token.id;
    tokens_[token.id] = {token.content, token.special};
    if (token.normalized) {
      ISTHMUS_ASSIGN_OR_RETURN(token.content, Normalized(std::move(token.content)));
      normal.push_back(std::move(token));
    } else {
      raw.push_back(std::move(token));
    }
  }
  raw_added_ = AddedTokens(raw);
  normal_added_ = AddedTokens(normal);
  return absl::OkStatus();
}

absl::Status JsonTokenizer::ReadPostProcessor(const Json* step, absl::string_view where) {
  if (step == nullptr) return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(const std::string type, StepType(*step, "post_processor", where));
  if (type == "ByteLevel") return absl::OkStatus();  // moves offsets, which nobody asks for here
  if (type == "TemplateProcessing") return ReadTemplate(*step, where);
  if (type != "Sequence")
    return InvalidArgument(
        "post_processor: expected TemplateProcessing, ByteLevel or Sequence, got ", type, " (",
        where, ")");
  ISTHMUS_ASSIGN_OR_RETURN(const Json* list, GetArray(*step, "processors", where));
  for (const Json& inner : *list) ISTHMUS_RETURN_IF_ERROR(ReadPostProcessor(&inner, where));
  return absl::OkStatus();
}

// "single": special tokens, the text (Sequence A) once, special tokens.
absl::Status JsonTokenizer::ReadTemplate(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const Json* single, GetArray(step, "single", where));
  const Json* specials = FindMember(step, "special_tokens");
  std::vector<int32_t> before, after;
  int num_texts = 0;
  for (const Json& part : *single) {
    num_texts += FindMember(part, "Sequence") != nullptr;
    const Json* special = FindMember(part, "SpecialToken");
    if (special == nullptr) continue;
    ISTHMUS_ASSIGN_OR_RETURN(const std::string name, GetString(*special, "id", where));
    const Json* entry = specials == nullptr ? nullptr : FindMember(*specials, name);
    if (entry == nullptr)
      return InvalidArgument("post_processor: expected \"", name,
                             "\" among special_tokens, got nothing (", where, ")");
    ISTHMUS_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, GetInts(*entry, "ids", where));
    for (const int64_t id : ids) {
      if (id < 0 || id > INT32_MAX || !tokens_.contains(static_cast<int32_t>(id)))
        return InvalidArgument("post_processor: expected the id of a token, got ", id, " (", where,
                               ")");
      (num_texts == 0 ? before : after).push_back(static_cast<int32_t>(id));
    }
  }
  if (num_texts != 1)
    return InvalidArgument("post_processor: expected one Sequence in single, got ", num_texts, " (",
                           where, ")");
  // In a Sequence of processors a later one wraps what the earlier ones made.
  prefix_.insert(prefix_.begin(), before.begin(), before.end());
  suffix_.insert(suffix_.end(), after.begin(), after.end());
  return absl::OkStatus();
}

// BOS and EOS by name, and tokenizer_config.json's word on adding them over the template's.
absl::Status JsonTokenizer::ResolveSpecials(absl::string_view where) {
  const auto find = [&](const std::string& configured, std::initializer_list<const char*> usual) {
    if (!configured.empty()) return TokenId(configured);
    for (const char* name : usual) {
      const auto found = added_ids_.find(name);
      if (found != added_ids_.end() && tokens_[found->second].special) return found->second;
    }
    return -1;
  };
  bos_id_ = find(config_.bos_token, {"<s>", "<|begin_of_text|>"});
  eos_id_ = find(config_.eos_token, {"</s>", "<|endoftext|>", "<|end_of_text|>"});

  for (const auto& [add, id, ids, name] : {std::tuple{config_.add_bos, bos_id_, &prefix_, "bos"},
                                           std::tuple{config_.add_eos, eos_id_, &suffix_, "eos"}}) {
    if (!add.has_value()) continue;
    const bool there = std::find(ids->begin(), ids->end(), id) != ids->end();
    if (*add && id < 0)
      return InvalidArgument("add_", name, "_token: expected a ", name,
                             "_token with it, got none (", where, ")");
    if (*add && !there) ids->insert(ids->begin(), id);
    if (!*add && there) ids->erase(std::remove(ids->begin(), ids->end(), id), ids->end());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> JsonTokenizer::Normalized(std::string text) const {
  for (const NormalizeStep& step : normalizer_) {
    ISTHMUS_ASSIGN_OR_RETURN(text, step(std::move(text)));
  }
  return text;
}

absl::StatusOr<std::vector<int32_t>> JsonTokenizer::Encode(absl::string_view text,
                                                           bool add_special) const {
  ISTHMUS_RETURN_IF_ERROR(CheckUtf8(text));
  std::vector<int32_t> ids;
  if (add_special) ids = prefix_;
  for (const Segment& segment : raw_added_.Split(text)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      ISTHMUS_RETURN_IF_ERROR(EncodeText(text.substr(segment.begin, segment.end - segment.begin),
                                         segment.begin == 0, &ids));
    }
  }
  if (add_special) ids.insert(ids.end(), suffix_.begin(), suffix_.end());
  return ids;
}

// Text without raw added tokens.
absl::Status JsonTokenizer::EncodeText(absl::string_view text, bool at_start,
                                       std::vector<int32_t>* ids) const {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string normal, Normalized(std::string(text)));
  for (const Segment& segment : normal_added_.Split(normal)) {
    if (segment.id >= 0) {
      ids->push_back(segment.id);
    } else {
      ISTHMUS_RETURN_IF_ERROR(
          EncodeNormal(normal.substr(segment.begin, segment.end - segment.begin),
                       at_start && segment.begin == 0, ids));
    }
  }
  return absl::OkStatus();
}

// Normalised text without added tokens.
absl::Status JsonTokenizer::EncodeNormal(std::string text, bool at_start,
                                         std::vector<int32_t>* ids) const {
  std::vector<Piece> pieces = {{std::move(text), at_start}};
  for (const SplitStep& step : pre_tokenizer_) ISTHMUS_RETURN_IF_ERROR(step(&pieces));
  for (const Piece& piece : pieces) bpe_.Encode(piece.text, ids);
  return absl::OkStatus();
}

std::string JsonTokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> texts;
  for (const int32_t id : ids) {
    const auto found = tokens_.find(id);
    if (found == tokens_.end() || (skip_special && found->second.special)) continue;
    texts.push_back(found->second.text);
  }
  if (texts.empty()) return "";
  for (const DecodeStep& step : decoder_) step(&texts);
  return absl::StrJoin(texts, "");
}

int32_t JsonTokenizer::TokenId(absl::string_view token) const {
  const auto found = added_ids_.find(token);
  return found != added_ids_.end() ? found->second : bpe_.TokenId(token);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(absl::string_view text,
                                                              TokenizerConfig config,
                                                              absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const Json root, ParseJson(text, where));
  if (!root.is_object())
    return InvalidArgument("tokenizer: expected an object, got ", Describe(root), " (", where, ")");
  ISTHMUS_ASSIGN_OR_RETURN(const Json* model, GetObject(root, "model", where));
  ISTHMUS_ASSIGN_OR_RETURN(Bpe bpe, Bpe::Parse(*model, where));
  auto tokenizer = std::make_unique<JsonTokenizer>(std::move(bpe), std::move(config));
  ISTHMUS_RETURN_IF_ERROR(tokenizer->Read(root, where));
  return tokenizer;
}

}  // namespace isthmus
