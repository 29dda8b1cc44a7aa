// Matrix products with a packed weight W [out, in]:
//   MatmulForward        y [rows, out] = x [rows, in] W^T
//   MatmulInputGradient  dx [rows, in] = dy [rows, out] W       from the same packed bytes
// and MatmulF32, a plain fp32 product for trained weights, LoRA factors and weight gradients.
// All matrices are row-major and contiguous unless a stride is given.
//
// Arithmetic. Integer formats multiply 8-bit activations (quantized_rows.h) with integer codes and
// fold the exact sums with the scales in fp32, group after group. The gradient's rows are
// multiplied by the channels' scales and quantised in runs of 64 channels, each with its own scale:
// the long tail of a softmax gradient survives beside its peaks. The other formats are decoded tile
// by tile and multiplied in fp32, the depth in order; bf16 x bf16 is there for those who allow it.
// (Dettmers et al., "LLM.int8()", 2022; Lin et
// al., "QServe", 2024.)
//
// The same bits for any number of threads, any instruction set and any split of the rows over
// calls. No allocation in a call that is given scratch. Values that are not finite show in the rows
// they are in.
#ifndef ISTHMUS_KERNELS_MATMUL_H_
#define ISTHMUS_KERNELS_MATMUL_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/packed_matrix.h"
#include "kernels/parallel.h"
#include "kernels/quantized_rows.h"

namespace isthmus {

struct MatmulOptions {
  bool accumulate = false;         // y += instead of y =
  bool float_activations = false;  // integer formats: decode the weights, keep x in fp32
  // Format bf16: x and dy are rounded to bf16 first (an error of 2^-9 of each value at most), and
  // sums below 2^-126 are zeros. 4 to 6 times the fp32 product's speed where the machine has AMX
  // and 16 rows, half of it elsewhere.
  bool bf16_activations = false;
  // Integer formats, forward from fp32: activations of this magnitude and above are multiplied in
  // fp32, beside the codes of the rest of their row (Dettmers et al., "LLM.int8()", 2022, has 6);
  // 0: none.
  float outliers = 0.0f;
  ThreadPool* pool = nullptr;  // null: the calling thread alone
  // At least the bytes that the functions below say (CHECK); empty: the call allocates its own.
  absl::Span<uint8_t> scratch = {};
};

// Scratch for either product of W with up to `rows` rows on `threads` threads; what the option of
// the same name takes is counted only where it will be set.
int64_t MatmulScratchBytes(const PackedMatrix& w, int64_t rows, int threads,
                           bool bf16_activations = false);

void MatmulForward(const float* x, int64_t rows, const PackedMatrix& w, float* y,
                   const MatmulOptions& options = {});
// The same from activations that are quantised already. Integer formats only (CHECK).
void MatmulForward(const QuantizedRows& x, const PackedMatrix& w, float* y,
                   const MatmulOptions& options = {});

void MatmulInputGradient(const float* dy, int64_t rows, const PackedMatrix& w, float* dx,
                         const MatmulOptions& options = {});

// One operand: element (i, j) is values[i * stride + j], or values[j * stride + i] if transposed.
struct MatrixOperand {
  const float* values = nullptr;
  int64_t stride = 0;
  bool transposed = false;
};

int64_t MatmulF32ScratchBytes(int threads);

// c [m, n] = a [m, k] b [k, n]; only accumulate, pool and scratch of the options are read.
void MatmulF32(const MatrixOperand& a, const MatrixOperand& b, int64_t m, int64_t n, int64_t k,
               float* c, const MatmulOptions& options = {});

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_MATMUL_H_
