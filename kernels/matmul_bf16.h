// Products of bf16 weights with activations rounded to bf16. Internal to kernels/; matmul.h has the
// contract, kernel_table.h the arithmetic (Bf16Block).
#ifndef ISTHMUS_KERNELS_MATMUL_BF16_H_
#define ISTHMUS_KERNELS_MATMUL_BF16_H_

#include <cstdint>

#include "kernels/matmul.h"
#include "kernels/scratch.h"

namespace isthmus {

// Beside the units: the rounded rows of a product over `depth` (a multiple of 64).
int64_t Bf16RowsBytes(int64_t rows, int64_t depth);

// y [rows, out] = x [rows, in] W^T, or with `transposed` y [rows, in] = x [rows, out] W.
void MatmulBf16(const float* x, int64_t rows, const PackedView& w, bool transposed,
                ScratchPieces* pieces, float* y, const MatmulOptions& options);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_MATMUL_BF16_H_
