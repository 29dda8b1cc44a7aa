// Rotary position embedding (Su et al., 2021) in the half-split form of Llama: element i of a head
// is paired with element i + head_dim / 2.
#ifndef ISTHMUS_KERNELS_ROTARY_H_
#define ISTHMUS_KERNELS_ROTARY_H_

#include <cstdint>

namespace isthmus::kernels {

// Rotates every head of one row in place. cos and sin [head_dim / 2] are those of its position.
void Rotate(float* row, int64_t heads, int64_t head_dim, const float* cos, const float* sin);
// The transpose, which is the gradient: rotates back.
void RotateBack(float* row, int64_t heads, int64_t head_dim, const float* cos, const float* sin);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_ROTARY_H_
