#include "kernels/cross_entropy.h"

#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

float LargestLogit(const float* logits, int64_t count) {
  const RowTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  RowVector top = hn::Set(d, logits[0]);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) top = hn::Max(top, hn::LoadU(d, logits + i));
  float largest = hn::GetLane(hn::MaxOfLanes(d, top));
  for (; i < count; ++i) largest = logits[i] > largest ? logits[i] : largest;
  return largest;
}

// exp(x - shift) of a run of n, zero behind it.
HWY_INLINE RowVector Exponential(RowTag d, const float* x, int64_t n, RowVector shift) {
  const RowVector e = hn::Exp(d, hn::Sub(LoadSome(d, x, n), shift));
  if (n >= static_cast<int64_t>(hn::Lanes(d))) return e;
  return hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(n)), e);
}

float SumOfExponentials(const float* logits, int64_t count, float largest) {
  const RowTag d;
  const RowVector shift = hn::Set(d, largest);
  RowVector sum = hn::Zero(d);
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    sum = hn::Add(sum, Exponential(d, logits + i, n, shift));
  });
  return SumOf(d, sum);
}

double LossOf(const float* logits, int64_t count, int64_t target) {
  const float largest = LargestLogit(logits, count);
  const double sum = SumOfExponentials(logits, count, largest);
  return std::log(sum) + static_cast<double>(largest) - static_cast<double>(logits[target]);
}

double LossAndGradient(float* logits, int64_t count, int64_t target, float scale) {
  const float largest = LargestLogit(logits, count);
  const float sum = SumOfExponentials(logits, count, largest);
  const double loss = std::log(static_cast<double>(sum)) + static_cast<double>(largest) -
                      static_cast<double>(logits[target]);
  const RowTag d;
  const RowVector shift = hn::Set(d, largest), factor = hn::Set(d, scale / sum);
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    StoreSome(hn::Mul(Exponential(d, logits + i, n, shift), factor), d, logits + i, n);
  });
  logits[target] = static_cast<float>(std::expm1(-loss)) * scale;
  return loss;
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(LossOf);
HWY_EXPORT(LossAndGradient);
}  // namespace

namespace kernels {

double CrossEntropy(const float* logits, int64_t count, int64_t target) {
  return HWY_DYNAMIC_DISPATCH(LossOf)(logits, count, target);
}

double CrossEntropyGradient(float* logits, int64_t count, int64_t target, float scale) {
  return HWY_DYNAMIC_DISPATCH(LossAndGradient)(logits, count, target, scale);
}

}  // namespace kernels
}  // namespace isthmus
#endif  // HWY_ONCE
