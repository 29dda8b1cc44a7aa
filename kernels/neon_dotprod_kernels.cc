// NEON with the 8-bit dot product (ARMv8.2 and later: Cortex-A55, A76, Neoverse N1, Apple M1).
#include "kernels/neon-inl.h"

namespace isthmus {
namespace {

inline int32x4_t AddProducts(int32x4_t sum, int8x16_t w, int8x16_t x) {
  return vdotq_s32(sum, w, x);
}

}  // namespace
}  // namespace isthmus

#include "kernels/neon_row-inl.h"

namespace isthmus {
namespace {

// kRows x 4 kVecs sums over one fold. A row's 16 inputs are one register, of which an instruction
// takes 4: 8 x 2 accumulators want 16 loads for 64 products.
template <int kRows, int kVecs>
inline void SumFold(const int8_t* w, const int8_t* x, int length, int32x4_t (&sum)[kRows][kVecs]) {
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sum[m][v] = vdupq_n_s32(0);
  }
  for (int k = 0; k < length; k += 16, w += 1024) {
    int8x16_t row[kRows];
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) row[m] = vld1q_s8(x + m * kBlock + k);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const int8x16_t w0 = vld1q_s8(w + v * 16), w1 = vld1q_s8(w + 256 + v * 16);
      const int8x16_t w2 = vld1q_s8(w + 512 + v * 16), w3 = vld1q_s8(w + 768 + v * 16);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sum[m][v] = vdotq_laneq_s32(sum[m][v], w0, row[m], 0);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sum[m][v] = vdotq_laneq_s32(sum[m][v], w1, row[m], 1);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sum[m][v] = vdotq_laneq_s32(sum[m][v], w2, row[m], 2);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sum[m][v] = vdotq_laneq_s32(sum[m][v], w3, row[m], 3);
    }
  }
}

template <int kRows, int kVecs>
void IntTile(const IntBlock& block, const IntRows& rows, int m0, float* acc, bool first) {
  const int8_t* x = rows.values + m0 * kBlock;
  for (int n = 0; n < kPanel; n += 4 * kVecs) {
    for (int begin = 0, f = 0; begin < block.depth; begin += block.fold, ++f) {
      int32x4_t sum[kRows][kVecs];
      SumFold<kRows, kVecs>(block.weights + begin * kPanel + n * 4, x + begin,
                            FoldLength(block, begin), sum);
      FoldSums<kRows, kVecs>(sum, block, rows, m0, n, f, first && f == 0, acc);
    }
  }
}

void MultiplyInt(const IntBlock& block, const IntRows& rows, float* acc, bool first) {
  int m = 0;
  for (; m + 8 <= rows.rows; m += 8) IntTile<8, 2>(block, rows, m, acc, first);
  if (m + 4 <= rows.rows) {
    IntTile<4, 4>(block, rows, m, acc, first);
    m += 4;
  }
  switch (rows.rows - m) {
    case 3:
      return IntTile<3, 4>(block, rows, m, acc, first);
    case 2:
      return IntTile<2, 4>(block, rows, m, acc, first);
    case 1:
      return IntTile<1, 4>(block, rows, m, acc, first);
    default:
      return;
  }
}

}  // namespace

const KernelTable* NeonDotprodKernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangeRows,
      .multiply_int = MultiplyInt,
      .int_vector = MultiplyRow,
      .stage_scales = StageScales,
      .stage_int = StageInt,
      .stage_int_transposed = StageIntTransposedWide,
      .multiply_f32 = MultiplyF32,
      .multiply_bf16 = nullptr,
      .write = WriteRows,
      .stage_f32 = StageF32,
      .stage_f32_transposed = StageF32Transposed,
  };
  return &kTable;
}

}  // namespace isthmus
