// tokenizer.model, by the sentencepiece library.
#ifndef ISTHMUS_MODEL_TOKENIZER_SENTENCEPIECE_H_
#define ISTHMUS_MODEL_TOKENIZER_SENTENCEPIECE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer.h"
#include "model/tokenizer_config.h"

namespace isthmus {

// `bytes` is the file, `where` its name in errors. Without tokenizer_config.json's word BOS is
// added and EOS is not, as Llama's tokenizer does.
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseSentencePiece(absl::string_view bytes,
                                                              TokenizerConfig config,
                                                              absl::string_view where);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_SENTENCEPIECE_H_
