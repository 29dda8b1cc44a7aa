// A linear map of a block: the base weight, a bias where the architecture has one, and a LoRA
// adapter where the job trains one. LoRA: Hu et al., 2021 (arXiv 2106.09685).
#ifndef ISTHMUS_ENGINE_TORCH_LINEAR_H_
#define ISTHMUS_ENGINE_TORCH_LINEAR_H_

#include <string>

#include "engine/torch/dropout.h"
#include "engine/torch/libtorch.h"

namespace isthmus {

// Handles to tensors that Parameters owns.
struct Linear {
  at::Tensor weight;  // [out, in]; [in, out] when `transposed`
  at::Tensor bias;    // [out]; undefined: none
  bool transposed = false;
  at::Tensor lora_a;  // [rank, in]; undefined: no adapter
  at::Tensor lora_b;  // [out, rank]
  double lora_scale = 0.0;
  int64_t layer = 0;  // with `module`: which dropout mask
  std::string module;
};

// x [tokens, in] times the matrix, in the dtype `compute`; the result is fp32. fp32 master weights
// are cast on the way, so that their gradients are fp32.
at::Tensor MatMul(const at::Tensor& x, const at::Tensor& weight, bool transposed,
                  at::ScalarType compute);

// [tokens, in] -> [tokens, out], fp32.
at::Tensor Apply(const Linear& linear, const at::Tensor& x, const DropoutKey& dropout,
                 at::ScalarType compute);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_LINEAR_H_
