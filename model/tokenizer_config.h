// tokenizer_config.json: which special tokens there are and which of them are added.
#ifndef ISTHMUS_MODEL_TOKENIZER_CONFIG_H_
#define ISTHMUS_MODEL_TOKENIZER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json.h"

namespace isthmus {

// A token beside the model's own, found in the text before the model sees it, unless it is special:
// those are never parsed.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  // not inside a longer word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = true;    // looked for after normalisation
};

struct TokenizerConfig {
  std::string bos_token, eos_token, unk_token, pad_token;  // "": none, or not said
  std::optional<bool> add_bos, add_eos;                    // nullopt: not said
  bool add_prefix_space = true;
  bool legacy = true;
  std::string chat_template;
  std::vector<AddedToken> added;  // added_tokens_decoder, and added_tokens.json
};

// Of a model directory; defaults when it has none of the files. kInvalidArgument names file and
// key.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& directory);

// An entry of added_tokens or added_tokens_decoder. `id` < 0: the entry has its own.
absl::StatusOr<AddedToken> ParseAddedToken(const Json& entry, int64_t id, absl::string_view where);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_CONFIG_H_
