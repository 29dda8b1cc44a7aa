// Names a model by what it is: parties that hold equal weights under different paths, or in another
// number of shards, agree.
#ifndef ISTHMUS_MODEL_CONTENT_ID_H_
#define ISTHMUS_MODEL_CONTENT_ID_H_

#include <string>

#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/weights.h"

namespace isthmus {

// 64 hexadecimal digits: SHA-256 over the facts of `config` that change what the model computes,
// and one line per tensor in the model's order with name, dtype, shape and CRC-32C. Reads every
// tensor once.
absl::StatusOr<std::string> ComputeContentId(const ModelConfig& config, WeightSource* weights);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_CONTENT_ID_H_
