// A new model directory beside an old one: everything but the weights is copied.
#ifndef ISTHMUS_MODEL_MODEL_FOLDER_H_
#define ISTHMUS_MODEL_MODEL_FOLDER_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace isthmus {

// Makes `out`, which is new or an empty folder (kInvalidArgument otherwise), with the configuration
// and tokenizer files of the model directory `from` and what `write` puts into the folder that it
// is given. `out` appears whole or not at all.
absl::Status BuildModelFolder(const std::string& from, const std::string& out,
                              absl::FunctionRef<absl::Status(const std::string& folder)> write);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_MODEL_FOLDER_H_
