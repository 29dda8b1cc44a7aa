// NEON of every 64-bit ARM processor (ARMv8-A): Cortex-A53, A72 and their like.
#include "kernels/neon-inl.h"

namespace isthmus {
namespace {

// 4 channels: sum += 4 inputs of w times those of x. Two 8-bit products fit 16 bits: 2 x 128 x 127.
inline int32x4_t AddProducts(int32x4_t sum, int8x16_t w, int8x16_t x) {
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
  return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(w, x)));
}

}  // namespace
}  // namespace isthmus

#include "kernels/neon_row-inl.h"

namespace isthmus {
namespace {

// Half the sums of 2 channels each in a vector; joined once a fold.
struct Halves {
  int32x4_t low;
  int32x4_t high;
};

// 8 inputs of 4 channels: the second product of a pair is added where the first one lies.
inline void AddEight(int8x16_t w0, int8x16_t w1, int8x16_t x0, int8x16_t x1, Halves* sum) {
  int16x8_t low = vmull_s8(vget_low_s8(w0), vget_low_s8(x0));
  int16x8_t high = vmull_high_s8(w0, x0);
  low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(x1));
  high = vmlal_high_s8(high, w1, x1);
  sum->low = vpadalq_s16(sum->low, low);
  sum->high = vpadalq_s16(sum->high, high);
}

// kRows x 8 sums over one fold: 16 accumulators for 4 rows.
template <int kRows>
inline void SumFold(const int8_t* w, const int8_t* x, int length, int32x4_t (&sum)[kRows][2]) {
  Halves halves[kRows][2];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) halves[m][0] = halves[m][1] = {vdupq_n_s32(0), vdupq_n_s32(0)};
  for (int k = 0; k < length; k += 8, w += 512) {
    const int8x16_t w00 = vld1q_s8(w), w01 = vld1q_s8(w + 256);
    const int8x16_t w10 = vld1q_s8(w + 16), w11 = vld1q_s8(w + 272);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const int8x16_t x0 = BroadcastQuad(x + m * kBlock + k);
      const int8x16_t x1 = BroadcastQuad(x + m * kBlock + k + 4);
      AddEight(w00, w01, x0, x1, &halves[m][0]);
      AddEight(w10, w11, x0, x1, &halves[m][1]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    for (int v = 0; v < 2; ++v) sum[m][v] = vpaddq_s32(halves[m][v].low, halves[m][v].high);
  }
}

template <int kRows>
void IntTile(const IntBlock& block, const IntRows& rows, int m0, float* acc, bool first) {
  const int8_t* x = rows.values + m0 * kBlock;
  for (int n = 0; n < kPanel; n += 8) {
    for (int begin = 0, f = 0; begin < block.depth; begin += block.fold, ++f) {
      int32x4_t sum[kRows][2];
      SumFold<kRows>(block.weights + begin * kPanel + n * 4, x + begin, FoldLength(block, begin),
                     sum);
      FoldSums<kRows, 2>(sum, block, rows, m0, n, f, first && f == 0, acc);
    }
  }
}

void MultiplyInt(const IntBlock& block, const IntRows& rows, float* acc, bool first) {
  int m = 0;
  for (; m + 4 <= rows.rows; m += 4) IntTile<4>(block, rows, m, acc, first);
  switch (rows.rows - m) {
    case 3:
      return IntTile<3>(block, rows, m, acc, first);
    case 2:
      return IntTile<2>(block, rows, m, acc, first);
    case 1:
      return IntTile<1>(block, rows, m, acc, first);
    default:
      return;
  }
}

}  // namespace

const KernelTable* NeonKernels() {
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
