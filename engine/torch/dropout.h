// Dropout masks as tensors.
#ifndef ISTHMUS_ENGINE_TORCH_DROPOUT_H_
#define ISTHMUS_ENGINE_TORCH_DROPOUT_H_

#include <cstdint>
#include <string>

#include "engine/dropout_key.h"
#include "engine/torch/libtorch.h"

namespace isthmus {

// [tokens, width] of 0 and 1 / (1 - rate) for one linear map ("self_attn.q_proj") of one layer.
at::Tensor DropoutMask(const DropoutKey& key, int64_t layer, const std::string& module,
                       int64_t width, const at::Device& device);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_DROPOUT_H_
