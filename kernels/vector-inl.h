// Loads and stores of the end of a row, for kernels that are compiled once per SIMD target.
#if defined(ISTHMUS_KERNELS_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ISTHMUS_KERNELS_VECTOR_INL_H_
#undef ISTHMUS_KERNELS_VECTOR_INL_H_
#else
#define ISTHMUS_KERNELS_VECTOR_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that a vector fits the buffers below on every target.
using RowTag = hn::CappedTag<float, 16>;
using RowVector = hn::Vec<RowTag>;

// The first `n` lanes from memory, zero behind them; never reads behind p[n - 1].
HWY_INLINE RowVector LoadSome(RowTag d, const float* p, int64_t n) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (n >= lanes) return hn::LoadU(d, p);
  HWY_ALIGN float part[16] = {};
  std::memcpy(part, p, static_cast<size_t>(n) * sizeof(float));
  return hn::Load(d, part);
}

HWY_INLINE void StoreSome(RowVector v, RowTag d, float* p, int64_t n) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (n >= lanes) return hn::StoreU(v, d, p);
  HWY_ALIGN float part[16];
  hn::Store(v, d, part);
  std::memcpy(p, part, static_cast<size_t>(n) * sizeof(float));
}

HWY_INLINE float SumOf(RowTag d, RowVector v) { return hn::GetLane(hn::SumOfLanes(d, v)); }

// Calls body(i, n) for runs of n <= lanes elements.
template <typename Body>
HWY_INLINE void ForVectors(RowTag d, int64_t count, Body&& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < count; i += lanes) body(i, count - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
