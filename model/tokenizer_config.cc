#include "model/tokenizer_config.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "base/file.h"
#include "base/status.h"

namespace isthmus {
namespace {

// "…" or {"content": "…"}.
absl::StatusOr<std::string> SpecialToken(const Json& root, absl::string_view key,
                                         absl::string_view where) {
  const Json* value = FindMember(root, key);
  if (value != nullptr && value->is_object()) return GetString(*value, "content", where);
  return GetStringOr(root, key, "", where);
}

absl::Status ReadSpecialTokens(const Json& root, absl::string_view where, TokenizerConfig* config) {
  for (const auto& [key, token] : {std::pair{"bos_token", &config->bos_token},
                                   {"eos_token", &config->eos_token},
                                   {"unk_token", &config->unk_token},
                                   {"pad_token", &config->pad_token}}) {
    ISTHMUS_ASSIGN_OR_RETURN(std::string text, SpecialToken(root, key, where));
    if (token->empty()) *token = std::move(text);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<bool>> OptionalBool(const Json& root, absl::string_view key,
                                                 absl::string_view where) {
  if (FindMember(root, key) == nullptr) return std::optional<bool>();
  ISTHMUS_ASSIGN_OR_RETURN(const bool value, GetBool(root, key, where));
  return std::optional<bool>(value);
}

// A text, or [{"name": "default", "template": "…"}, …].
absl::StatusOr<std::string> ChatTemplate(const Json& root, absl::string_view where) {
  const Json* value = FindMember(root, "chat_template");
  if (value == nullptr || !value->is_array()) return GetStringOr(root, "chat_template", "", where);
  for (const Json& entry : *value) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string name, GetString(entry, "name", where));
    if (name == "default") return GetString(entry, "template", where);
  }
  return std::string();
}

absl::Status ReadAdded(const Json& root, absl::string_view where, TokenizerConfig* config) {
  const Json* decoder = FindMember(root, "added_tokens_decoder");
  if (decoder == nullptr) return absl::OkStatus();
  ISTHMUS_RETURN_IF_ERROR(GetObject(root, "added_tokens_decoder", where).status());
  for (const auto& [key, entry] : decoder->items()) {
    int64_t id = -1;
    if (!absl::SimpleAtoi(key, &id) || id < 0)
      return InvalidArgument("added_tokens_decoder: expected an id, got \"", key, "\" (", where,
                             ")");
    ISTHMUS_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(entry, id, where));
    config->added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

// Older directories: {"<|im_start|>": 32000}.
absl::Status ReadAddedList(const std::string& directory, TokenizerConfig* config) {
  const std::string path = directory + "/added_tokens.json";
  const absl::StatusOr<Json> root = ReadJsonFile(path);
  if (absl::IsNotFound(root.status())) return absl::OkStatus();
  ISTHMUS_RETURN_IF_ERROR(root.status());
  if (!root->is_object())
    return InvalidArgument("added tokens: expected an object, got ", Describe(*root), " (", path,
                           ")");
  for (const auto& [content, id] : root->items()) {
    bool known = false;
    for (const AddedToken& token : config->added) known |= token.content == content;
    if (known) continue;
    Json entry = {{"content", content}, {"id", id}};
    ISTHMUS_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(entry, -1, path));
    config->added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status ReadMain(const std::string& path, TokenizerConfig* config) {
  const absl::StatusOr<Json> root = ReadJsonFile(path);
  if (absl::IsNotFound(root.status())) return absl::OkStatus();
  ISTHMUS_RETURN_IF_ERROR(root.status());
  if (!root->is_object())
    return InvalidArgument("tokenizer_config.json: expected an object, got ", Describe(*root), " (",
                           path, ")");
  ISTHMUS_RETURN_IF_ERROR(ReadSpecialTokens(*root, path, config));
  ISTHMUS_ASSIGN_OR_RETURN(config->add_bos, OptionalBool(*root, "add_bos_token", path));
  ISTHMUS_ASSIGN_OR_RETURN(config->add_eos, OptionalBool(*root, "add_eos_token", path));
  ISTHMUS_ASSIGN_OR_RETURN(config->add_prefix_space,
                           GetBoolOr(*root, "add_prefix_space", true, path));
  ISTHMUS_ASSIGN_OR_RETURN(config->legacy, GetBoolOr(*root, "legacy", true, path));
  ISTHMUS_ASSIGN_OR_RETURN(config->chat_template, ChatTemplate(*root, path));
  return ReadAdded(*root, path, config);
}

}  // namespace

absl::StatusOr<AddedToken> ParseAddedToken(const Json& entry, int64_t id, absl::string_view where) {
  AddedToken token;
  ISTHMUS_ASSIGN_OR_RETURN(token.content, GetString(entry, "content", where));
  if (id < 0) {
    ISTHMUS_ASSIGN_OR_RETURN(id, GetInt(entry, "id", where));
  }
  if (id < 0 || id >= std::numeric_limits<int32_t>::max())
    return InvalidArgument("added token: expected an id from 0 to 2^31-2, got ", id, " (", where,
                           ")");
  token.id = static_cast<int32_t>(id);
  ISTHMUS_ASSIGN_OR_RETURN(token.special, GetBoolOr(entry, "special", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(token.single_word, GetBoolOr(entry, "single_word", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(token.lstrip, GetBoolOr(entry, "lstrip", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(token.rstrip, GetBoolOr(entry, "rstrip", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(token.normalized, GetBoolOr(entry, "normalized", !token.special, where));
  return token;
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& directory) {
  TokenizerConfig config;
  ISTHMUS_RETURN_IF_ERROR(ReadMain(directory + "/tokenizer_config.json", &config));
  ISTHMUS_RETURN_IF_ERROR(ReadAddedList(directory, &config));

  const std::string map_path = directory + "/special_tokens_map.json";
  const absl::StatusOr<Json> map = ReadJsonFile(map_path);
  if (map.ok()) {
    ISTHMUS_RETURN_IF_ERROR(ReadSpecialTokens(*map, map_path, &config));
  } else if (!absl::IsNotFound(map.status())) {
    return map.status();
  }
  absl::StatusOr<std::string> chat = ReadFile(directory + "/chat_template.jinja");
  if (chat.ok()) config.chat_template = *std::move(chat);
  return config;
}

}  // namespace isthmus
