// The tokenizer of a model folder that has none of its own.
//
// A copy of a model in another number format is often kept beside the original without the
// tokenizer files: MODEL-bf16 beside MODEL. Both are one model when their config.json agree in all
// but the stored dtype.
#ifndef ISTHMUS_MODEL_TOKENIZER_SIBLING_H_
#define ISTHMUS_MODEL_TOKENIZER_SIBLING_H_

#include <optional>
#include <string>

namespace isthmus {

// The folder beside `model_directory` whose name is the longest "NAME" of "NAME-…", with a
// tokenizer and the same configuration.
std::optional<std::string> SiblingWithTokenizer(const std::string& model_directory);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_SIBLING_H_
