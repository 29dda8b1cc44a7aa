// The reference: plain C++ for the compiler's baseline. Every other table is tested bit-equal to
// it.
#include "kernels/kernel_table.h"

namespace isthmus {
namespace {

using Vec = float;
constexpr int kLanes = 1;
constexpr int kTileRows = 4;
constexpr int kTileVecs = 4;
inline Vec Zero() { return 0.0f; }
inline Vec Load(const float* p) { return *p; }
inline void Store(Vec v, float* p) { *p = v; }
inline Vec Broadcast(float v) { return v; }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return __builtin_fmaf(a, b, c); }

}  // namespace
}  // namespace isthmus

#include "kernels/portable-inl.h"

namespace isthmus {

const KernelTable* ScalarKernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangeRows,
      .multiply_int = MultiplyIntPlain,
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
