#include "kernels/rotary.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rotary.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

// `sign` is 1, or -1 to rotate back.
void RotateRow(float* row, int64_t heads, int64_t head_dim, const float* cos, const float* sin,
               float sign) {
  const RowTag d;
  const RowVector direction = hn::Set(d, sign);
  const int64_t half = head_dim / 2;
  for (int64_t h = 0; h < heads; ++h, row += head_dim) {
    ForVectors(d, half, [&](int64_t i, int64_t n) {
      const RowVector c = LoadSome(d, cos + i, n);
      const RowVector s = hn::Mul(LoadSome(d, sin + i, n), direction);
      const RowVector a = LoadSome(d, row + i, n), b = LoadSome(d, row + half + i, n);
      StoreSome(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, row + i, n);
      StoreSome(hn::MulAdd(a, s, hn::Mul(b, c)), d, row + half + i, n);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(RotateRow);
}  // namespace

namespace kernels {

void Rotate(float* row, int64_t heads, int64_t head_dim, const float* cos, const float* sin) {
  HWY_DYNAMIC_DISPATCH(RotateRow)(row, heads, head_dim, cos, sin, 1.0f);
}

void RotateBack(float* row, int64_t heads, int64_t head_dim, const float* cos, const float* sin) {
  HWY_DYNAMIC_DISPATCH(RotateRow)(row, heads, head_dim, cos, sin, -1.0f);
}

}  // namespace kernels
}  // namespace isthmus
#endif  // HWY_ONCE
