// c = a b (+ c) for the small matrices inside attention: a with any strides, b and c with rows.
// Every element of c is one chain of fused multiply-adds over k in its order, whatever the shape.
#if defined(ISTHMUS_KERNELS_SMALL_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ISTHMUS_KERNELS_SMALL_PRODUCT_INL_H_
#undef ISTHMUS_KERNELS_SMALL_PRODUCT_INL_H_
#else
#define ISTHMUS_KERNELS_SMALL_PRODUCT_INL_H_
#endif

#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

struct SmallProduct {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;  // element (i, l) at a[i * a_row + l * a_column]
  int64_t a_row = 0, a_column = 1;
  const float* b = nullptr;  // [k, n]
  int64_t b_stride = 0;
  float* c = nullptr;  // [m, n]
  int64_t c_stride = 0;
  bool accumulate = false;
};

// kRows rows of c, and `n` <= 2 vectors of their columns from `j` on.
template <int kRows, int kVectors>
HWY_INLINE void ProductTile(const SmallProduct& p, int64_t i, int64_t j, int64_t n) {
  const RowTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  RowVector sum[kRows][kVectors];
  HWY_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const float* c = p.c + (i + r) * p.c_stride + j + v * lanes;
      sum[r][v] = p.accumulate ? LoadSome(d, c, n - v * lanes) : hn::Zero(d);
    }
  }
  for (int64_t l = 0; l < p.k; ++l) {
    const float* b = p.b + l * p.b_stride + j;
    RowVector right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = LoadSome(d, b + v * lanes, n - v * lanes);
    HWY_UNROLL(4)
    for (int r = 0; r < kRows; ++r) {
      const RowVector left = hn::Set(d, p.a[(i + r) * p.a_row + l * p.a_column]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
    }
  }
  HWY_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      float* c = p.c + (i + r) * p.c_stride + j + v * lanes;
      StoreSome(sum[r][v], d, c, n - v * lanes);
    }
  }
}

template <int kRows>
HWY_INLINE void ProductRows(const SmallProduct& p, int64_t i) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(RowTag()));
  int64_t j = 0;
  for (; j + 2 * lanes <= p.n; j += 2 * lanes) ProductTile<kRows, 2>(p, i, j, 2 * lanes);
  for (; j < p.n; j += lanes) ProductTile<kRows, 1>(p, i, j, p.n - j);
}

HWY_INLINE void Multiply(const SmallProduct& p) {
  int64_t i = 0;
  for (; i + 4 <= p.m; i += 4) ProductRows<4>(p, i);
  for (; i < p.m; ++i) ProductRows<1>(p, i);
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
