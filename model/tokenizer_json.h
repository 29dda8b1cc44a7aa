// tokenizer.json: byte pair encoding with its normalizer, pre-tokenizer, post-processor and
// decoder.
#ifndef ISTHMUS_MODEL_TOKENIZER_JSON_H_
#define ISTHMUS_MODEL_TOKENIZER_JSON_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer.h"
#include "model/tokenizer_config.h"

namespace isthmus {

// `text` is the file, `where` its name in errors. A component of a type that is not supported is
// kInvalidArgument naming it.
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(absl::string_view text,
                                                              TokenizerConfig config,
                                                              absl::string_view where);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_JSON_H_
