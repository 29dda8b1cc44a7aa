// The steps around the model in tokenizer.json: normalizer, pre-tokenizer, decoder. Each is read
// once into functions that run in order.
#ifndef ISTHMUS_MODEL_TOKENIZER_STEPS_H_
#define ISTHMUS_MODEL_TOKENIZER_STEPS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json.h"
#include "model/tokenizer_regex.h"

namespace isthmus {

// A part of the text on its way to the model.
struct Piece {
  std::string text;
  bool at_start = false;  // nothing of the text is before it
};

using NormalizeStep = std::function<absl::StatusOr<std::string>(std::string text)>;
using SplitStep = std::function<absl::Status(std::vector<Piece>* pieces)>;
// Works on the tokens' texts in place; what is left is joined.
using DecodeStep = std::function<void(std::vector<std::string>* tokens)>;

// `step` is the member of tokenizer.json, null when it has none. An unknown type is
// kInvalidArgument naming it and what there is.
absl::Status ReadNormalizer(const Json* step, absl::string_view where,
                            std::vector<NormalizeStep>* steps);
absl::Status ReadPreTokenizer(const Json* step, absl::string_view where,
                              std::vector<SplitStep>* steps);
// A file without a decoder joins its tokens with spaces.
absl::Status ReadDecoder(const Json* step, absl::string_view where, std::vector<DecodeStep>* steps);

// {"String": text} or {"Regex": pattern}.
absl::StatusOr<Regex> ReadPattern(const Json& step, absl::string_view where);
// {"type": …}.
absl::StatusOr<std::string> StepType(const Json& step, absl::string_view kind,
                                     absl::string_view where);
// Newer files say always, first or never; older ones have add_prefix_space.
enum class PrependScheme { kAlways, kFirst, kNever };
absl::StatusOr<PrependScheme> ReadPrependScheme(const Json& step, absl::string_view where);
// The one code point that stands for a space, "▁" unless the step says otherwise.
absl::StatusOr<std::string> ReadReplacement(const Json& step, absl::string_view where);

// GPT-2's printable stand-ins for bytes: 33..126, 161..172 and 174..255 stand for themselves, the
// others follow from U+0100 on.
char32_t ByteCharacter(unsigned char byte);
int CharacterByte(char32_t code_point);  // -1: stands for no byte

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_STEPS_H_
