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

const KernelTable* Avx2Kernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangeRows,
      .multiply_int = MultiplyIntPlain,
      .int_vector = nullptr,
      .stage_scales = StageScales,
      .stage_int = StageInt,
      .stage_int_transposed = StageIntTransposed,
      .multiply_f32 = MultiplyF32,
      .write = WriteRows,
      .stage_f32 = StageF32,
      .stage_f32_transposed = StageF32Transposed,
  };
  return &kTable;
}

}  // namespace isthmus
