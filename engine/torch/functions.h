// Differentiable pieces of a block that LibTorch composes of many small operators. Written as one
// function with its own backward they keep one tensor where the composition keeps three, and cost
// half the operator calls, which is what bounds small models.
#ifndef ISTHMUS_ENGINE_TORCH_FUNCTIONS_H_
#define ISTHMUS_ENGINE_TORCH_FUNCTIONS_H_

#include "engine/torch/libtorch.h"
#include "model/config.h"

namespace isthmus {

// x / rms(x) * weight over the last dimension (Zhang and Sennrich, 2019). x [tokens, width], weight
// [width].
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// Rotates the pairs (i, i + head_dim / 2) of every head (Su et al., 2021, in the half-split order
// of Hugging Face). x [tokens, heads, head_dim]; cos, sin [tokens, 1, head_dim]; the first half of
// `sin` carries the minus sign.
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// silu(gate) * up (Shazeer, 2020).
at::Tensor SiluTimes(const at::Tensor& gate, const at::Tensor& up);

at::Tensor Activate(Activation activation, const at::Tensor& x);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_FUNCTIONS_H_
