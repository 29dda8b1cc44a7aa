// AVX2 and FMA: every x86-64 of the last ten years.
#include <immintrin.h>

#include "kernels/kernel_table.h"

namespace isthmus {
namespace {

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 6;  // 6 x 2 accumulators of 16 registers
constexpr int kTileVecs = 2;
inline Vec Zero() { return _mm256_setzero_ps(); }
inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
inline void Store(Vec v, float* p) { _mm256_storeu_ps(p, v); }
inline Vec Broadcast(float v) { return _mm256_set1_ps(v); }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }

}  // namespace
}  // namespace isthmus

#include "kernels/portable-inl.h"

namespace isthmus {
namespace {

// 4 inputs of 8 channels: sum += w x. vpmaddubsw wants one unsigned side: |w| times x with w's
// sign. It adds pairs in 16 bits, 2 x 128 x 127 at most, and so never saturates.
inline __m256i AddProduct(__m256i sum, __m256i w, __m256i magnitude, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// kRows x 16 sums over one fold.
template <int kRows>
inline void SumFold(const int8_t* w, const int8_t* x, int length, __m256i (&sum)[kRows][2]) {
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) sum[m][0] = sum[m][1] = _mm256_setzero_si256();
  for (int k = 0; k < length; k += 4, w += 256) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 32));
    const __m256i low_magnitude = _mm256_abs_epi8(low);
    const __m256i high_magnitude = _mm256_abs_epi8(high);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      int32_t quad;
      __builtin_memcpy(&quad, x + m * kBlock + k, 4);
      const __m256i value = _mm256_set1_epi32(quad);
      sum[m][0] = AddProduct(sum[m][0], low, low_magnitude, value);
      sum[m][1] = AddProduct(sum[m][1], high, high_magnitude, value);
    }
  }
}

template <int kRows>
void IntTile(const IntBlock& block, const IntRows& rows, int m0, float* acc, bool first) {
  const int8_t* x = rows.values + m0 * kBlock;
  for (int n = 0; n < kPanel; n += 16) {
    for (int begin = 0, f = 0; begin < block.depth; begin += block.fold, ++f) {
      const int length = begin + block.fold < block.depth ? block.fold : block.depth - begin;
      __m256i sum[kRows][2];
      SumFold<kRows>(block.weights + begin * kPanel + n * 4, x + begin, length, sum);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          float* to = acc + (m0 + m) * kPanel + n + j * 8;
          const Vec before = first && f == 0 ? Zero() : Load(to);
          const Vec scale = block.scales != nullptr
                                ? Load(block.scales + f * kPanel + n + j * 8)
                                : Broadcast(rows.scales[(m0 + m) * rows.scale_stride + f]);
          Store(MulAdd(_mm256_cvtepi32_ps(sum[m][j]), scale, before), to);
        }
      }
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

const KernelTable* Avx2Kernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangeRows,
      .multiply_int = MultiplyInt,
      .int_vector = nullptr,
      .stage_scales = StageScales,
      .stage_int = StageInt,
      .stage_int_transposed = StageIntTransposed,
      .multiply_f32 = MultiplyF32,
      .multiply_bf16 = nullptr,
      .write = WriteRows,
      .stage_f32 = StageF32,
      .stage_f32_transposed = StageF32Transposed,
  };
  return &kTable;
}

}  // namespace isthmus
