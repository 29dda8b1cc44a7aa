// NEON with the 8-bit matrix product (ARMv8.6 and later: Neoverse V1 and N2, Cortex-A510, Apple
// M2): 2 rows x 8 inputs times 8 inputs x 2 channels, twice the products of a dot product.
#include "kernels/neon-inl.h"

namespace isthmus {
namespace {

// Rows in pairs, 8 inputs of one beside 8 of the other: an operand of smmla.
void ArrangePairs(const int8_t* codes, int64_t stride, int count, int depth, int8_t* out) {
  const int padded = (count + kRowTile - 1) / kRowTile * kRowTile;
  const int8x16_t zero = vdupq_n_s8(0);
  for (int m = 0; m < padded; m += 2, out += 2 * kBlock) {
    const int8_t* from = codes + m * stride;
    for (int k = 0; k < depth; k += 16) {
      const int64x2_t a = vreinterpretq_s64_s8(m < count ? vld1q_s8(from + k) : zero);
      const int64x2_t b = vreinterpretq_s64_s8(m + 1 < count ? vld1q_s8(from + stride + k) : zero);
      vst1q_s8(out + 2 * k, vreinterpretq_s8_s64(vzip1q_s64(a, b)));
      vst1q_s8(out + 2 * k + 16, vreinterpretq_s8_s64(vzip2q_s64(a, b)));
    }
  }
}

// 8 inputs of 2 channels each, from two vectors of 4 inputs of 4 channels.
struct ChannelPairs {
  int8x16_t first;
  int8x16_t second;
};
inline ChannelPairs PairChannels(const int8_t* w) {
  const int32x4_t near = vreinterpretq_s32_s8(vld1q_s8(w));
  const int32x4_t far = vreinterpretq_s32_s8(vld1q_s8(w + 256));
  return {vreinterpretq_s8_s32(vzip1q_s32(near, far)), vreinterpretq_s8_s32(vzip2q_s32(near, far))};
}

// kPairs of rows x 8 channels over one fold, [pair][2 channels]: 16 accumulators for 4 pairs, each
// 2 x 2 sums.
template <int kPairs>
inline void SumFold(const int8_t* w, const int8_t* x, int length, int32x4_t (&sum)[kPairs][4]) {
#pragma GCC unroll 4
  for (int p = 0; p < kPairs; ++p) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) sum[p][c] = vdupq_n_s32(0);
  }
  for (int k = 0; k < length; k += 8, w += 512) {
    const ChannelPairs a = PairChannels(w), b = PairChannels(w + 16);
#pragma GCC unroll 4
    for (int p = 0; p < kPairs; ++p) {
      const int8x16_t pair = vld1q_s8(x + p * 2 * kBlock + 2 * k);
      sum[p][0] = vmmlaq_s32(sum[p][0], pair, a.first);
      sum[p][1] = vmmlaq_s32(sum[p][1], pair, a.second);
      sum[p][2] = vmmlaq_s32(sum[p][2], pair, b.first);
      sum[p][3] = vmmlaq_s32(sum[p][3], pair, b.second);
    }
  }
}

inline int32x4_t JoinRow(int32x4_t a, int32x4_t b, bool second) {
  const int64x2_t x = vreinterpretq_s64_s32(a), y = vreinterpretq_s64_s32(b);
  return vreinterpretq_s32_s64(second ? vzip2q_s64(x, y) : vzip1q_s64(x, y));
}

// 2 kPairs rows of which the last `missing` (0 or 1) is not there.
template <int kPairs, int kMissing>
void IntTile(const IntBlock& block, const IntRows& rows, int m0, float* acc, bool first) {
  constexpr int kRows = 2 * kPairs - kMissing;
  const int8_t* x = rows.values + m0 * kBlock;
  for (int n = 0; n < kPanel; n += 8) {
    for (int begin = 0, f = 0; begin < block.depth; begin += block.fold, ++f) {
      int32x4_t pairs[kPairs][4];
      SumFold<kPairs>(block.weights + begin * kPanel + n * 4, x + 2 * begin,
                      FoldLength(block, begin), pairs);
      int32x4_t sum[kRows][2];
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) {
        sum[m][0] = JoinRow(pairs[m / 2][0], pairs[m / 2][1], m % 2 != 0);
        sum[m][1] = JoinRow(pairs[m / 2][2], pairs[m / 2][3], m % 2 != 0);
      }
      FoldSums<kRows, 2>(sum, block, rows, m0, n, f, first && f == 0, acc);
    }
  }
}

void MultiplyInt(const IntBlock& block, const IntRows& rows, float* acc, bool first) {
  int m = 0;
  for (; m + 8 <= rows.rows; m += 8) IntTile<4, 0>(block, rows, m, acc, first);
  switch (rows.rows - m) {
    case 7:
      return IntTile<4, 1>(block, rows, m, acc, first);
    case 6:
      return IntTile<3, 0>(block, rows, m, acc, first);
    case 5:
      return IntTile<3, 1>(block, rows, m, acc, first);
    case 4:
      return IntTile<2, 0>(block, rows, m, acc, first);
    case 3:
      return IntTile<2, 1>(block, rows, m, acc, first);
    case 2:
      return IntTile<1, 0>(block, rows, m, acc, first);
    case 1:
      return IntTile<1, 1>(block, rows, m, acc, first);
    default:
      return;
  }
}

}  // namespace

const KernelTable* NeonI8mmKernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangePairs,
      .multiply_int = MultiplyInt,
      .int_vector = nullptr,
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
