// Highway forms of ecq_kernels.h. What both ends derive is element-wise, or a sum of integers, so
// the vector width does not show in the result; tails run the same operations one by one.
#include "compression/ecq_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/ecq_kernels.cc"
#include "hwy/foreach_target.h"
//
#include "compression/ecq_learn-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using ecq::DF;
using ecq::DI;
using ecq::DU;

constexpr size_t kRoughBlock = 4096;  // values whose rough bits fit 32-bit sums

void MoveToward(const float* x, float share, size_t n, float* mean) {
  const DF d;
  const auto s = hn::Set(d, share);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto m = hn::LoadU(d, mean + i);
    const auto change = hn::Mul(hn::Sub(hn::LoadU(d, x + i), m), s);
    hn::StoreU(hn::Add(m, change), d, mean + i);
  }
  for (; i < n; ++i) {
    const float change = (x[i] - mean[i]) * share;
    mean[i] = mean[i] + change;
  }
}

void Blend(const float* from, const float* to, float share, size_t n, float* out) {
  const DF d;
  const auto s = hn::Set(d, share);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto f = hn::LoadU(d, from + i);
    hn::StoreU(hn::Add(f, hn::Mul(hn::Sub(hn::LoadU(d, to + i), f), s)), d, out + i);
  }
  for (; i < n; ++i) {
    const float change = (to[i] - from[i]) * share;
    out[i] = from[i] + change;
  }
}

void AddProduct(const float* base, const float* a, const float* x, size_t n, float* out) {
  const DF d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto product = hn::Mul(hn::LoadU(d, a + i), hn::LoadU(d, x + i));
    hn::StoreU(hn::Add(hn::LoadU(d, base + i), product), d, out + i);
  }
  for (; i < n; ++i) {
    const float product = a[i] * x[i];
    out[i] = base[i] + product;
  }
}

void LearnShift(const float* x, const float* base, float scale, size_t n, float* before,
                float* sum_dd, float* sum_de) {
  const DF d;
  const auto s = hn::Set(d, scale);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto y = hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, base + i));
    const auto scaled_d = hn::Mul(hn::LoadU(d, before + i), s), scaled_y = hn::Mul(y, s);
    hn::StoreU(hn::Add(hn::LoadU(d, sum_dd + i), hn::Mul(scaled_d, scaled_d)), d, sum_dd + i);
    hn::StoreU(hn::Add(hn::LoadU(d, sum_de + i), hn::Mul(scaled_d, scaled_y)), d, sum_de + i);
    hn::StoreU(y, d, before + i);
  }
  for (; i < n; ++i) {
    const float y = x[i] - base[i];
    const float scaled_d = before[i] * scale, scaled_y = y * scale;
    const float square = scaled_d * scaled_d, product = scaled_d * scaled_y;
    sum_dd[i] = sum_dd[i] + square;
    sum_de[i] = sum_de[i] + product;
    before[i] = y;
  }
}

template <bool kSlot>
HWY_INLINE size_t PredictVectors(const EcqPredictor& from, size_t n, float* out) {
  const DF d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(ecq::PredictedOf<kSlot>(from, i), d, out + i);
  return i;
}

void Predict(const EcqPredictor& from, size_t n, float* out) {
  size_t i = from.slot != nullptr ? PredictVectors<true>(from, n, out)
                                  : PredictVectors<false>(from, n, out);
  for (; i < n; ++i) out[i] = EcqPredictedAt(from, i);
}

template <bool kSlot, bool kShift>
uint32_t LearnRowOf(const EcqLesson& lesson, size_t n, float* out) {
  const DU du;
  const EcqLesson l = lesson;  // nothing that is stored changes it
  auto most = hn::Zero(du);
  ecq::LearnRange<kSlot, kShift>(l, 0, n, out, &most);
  return hn::GetLane(hn::MaxOfLanes(du, most));
}

uint32_t LearnRow(const EcqLesson& l, size_t n, float* out) {
  if (l.slot != nullptr) {
    return l.before != nullptr ? LearnRowOf<true, true>(l, n, out)
                               : LearnRowOf<true, false>(l, n, out);
  }
  return l.before != nullptr ? LearnRowOf<false, true>(l, n, out)
                             : LearnRowOf<false, false>(l, n, out);
}

uint32_t LearnDitheredRow(const int32_t* q, const float* step, const float* dither, float share,
                          size_t n, float* expected, float* out) {
  const DF d;
  const DI di;
  const DU du;
  auto most = hn::Zero(du);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto code = hn::LoadU(di, q + i);
    const auto inner = hn::Sub(hn::ConvertTo(d, code), hn::LoadU(d, dither + i));
    const auto x = hn::Mul(inner, hn::LoadU(d, step + i));
    hn::StoreU(x, d, out + i);
    most = hn::Max(most, hn::BitCast(du, hn::Abs(x)));
    const auto magnitude = hn::ConvertTo(d, hn::Abs(code));
    const auto learned = ecq::Learned(hn::LoadU(d, expected + i), magnitude, share);
    hn::StoreU(learned, d, expected + i);
  }
  uint32_t largest = hn::GetLane(hn::MaxOfLanes(du, most));
  for (; i < n; ++i) {
    out[i] = (static_cast<float>(q[i]) - dither[i]) * step[i];
    largest = std::max(largest, std::bit_cast<uint32_t>(std::fabs(out[i])));
    expected[i] = EcqLearnedAt(expected[i], q[i], share);
  }
  return largest;
}

using DD = hn::ScalableTag<double>;

// Lowest and highest value of every lane, and the bits of the largest magnitude.
struct Extremes {
  hn::Vec<hn::Rebind<float, DD>> low, high;
  hn::Vec<hn::Rebind<uint32_t, DD>> magnitude;
};

// One vector of channels over kRows rows.
template <size_t kRows>
HWY_INLINE void AddMomentsOf(const float* x, size_t stride, double* sums, double* squares,
                             Extremes* extremes) {
  const DD d;
  const hn::Rebind<float, DD> df;
  const hn::Rebind<uint32_t, DD> du;
  auto sum = hn::LoadU(d, sums), square = hn::LoadU(d, squares);
  for (size_t row = 0; row < kRows; ++row) {
    const auto v = hn::LoadU(df, x + row * stride);
    extremes->low = hn::Min(extremes->low, v);
    extremes->high = hn::Max(extremes->high, v);
    extremes->magnitude = hn::Max(extremes->magnitude, hn::BitCast(du, hn::Abs(v)));
    const auto wide = hn::PromoteTo(d, v);
    sum = hn::Add(sum, wide);
    square = hn::Add(square, hn::Mul(wide, wide));
  }
  hn::StoreU(sum, d, sums);
  hn::StoreU(square, d, squares);
}

// kRows rows; what fills no vector goes to *rest.
template <size_t kRows>
HWY_INLINE void AddRows(const float* x, size_t stride, size_t n, double* sums, double* squares,
                        Extremes* extremes, Extent* rest) {
  size_t i = 0;
  for (; i + hn::Lanes(DD()) <= n; i += hn::Lanes(DD()))
    AddMomentsOf<kRows>(x + i, stride, sums + i, squares + i, extremes);
  for (; i < n; ++i) {
    for (size_t row = 0; row < kRows; ++row) {
      const float v = x[row * stride + i];
      const double wide = v, square = wide * wide;
      sums[i] += wide;
      squares[i] += square;
      rest->lo = std::min(rest->lo, v);
      rest->hi = std::max(rest->hi, v);
      rest->magnitude = std::max(rest->magnitude, std::bit_cast<uint32_t>(std::fabs(v)));
    }
  }
}

Extent AddMoments(const float* x, size_t rows, size_t stride, size_t n, double* sums,
                  double* squares) {
  const hn::Rebind<float, DD> df;
  const hn::Rebind<uint32_t, DD> du;
  if (rows == 0 || n == 0) return {};
  Extent extent{x[0], x[0], 0};
  Extremes extremes{hn::Set(df, x[0]), hn::Set(df, x[0]), hn::Zero(du)};
  size_t row = 0;
  for (; row + 4 <= rows; row += 4)
    AddRows<4>(x + row * stride, stride, n, sums, squares, &extremes, &extent);
  for (; row < rows; ++row)
    AddRows<1>(x + row * stride, stride, n, sums, squares, &extremes, &extent);
  extent.lo = std::min(extent.lo, hn::GetLane(hn::MinOfLanes(df, extremes.low)));
  extent.hi = std::max(extent.hi, hn::GetLane(hn::MaxOfLanes(df, extremes.high)));
  const uint32_t magnitude = hn::GetLane(hn::MaxOfLanes(du, extremes.magnitude));
  extent.magnitude = std::max(extent.magnitude, magnitude);
  return extent;
}

double SquaredMiss(const float* x, const float* x_hat, const float* inverse_step, size_t n) {
  const DF d;
  auto sums = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto miss = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, x_hat + i)),
                              hn::LoadU(d, inverse_step + i));
    sums = hn::Add(sums, hn::Mul(miss, miss));
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < n; ++i) {
    const double miss = static_cast<double>(x[i] - x_hat[i]) * inverse_step[i];
    sum += miss * miss;
  }
  return sum;
}

// log2(1 + |miss|), a chord between powers of two, in units of 2^-11.
HWY_INLINE hn::Vec<DI> RoughLog(hn::Vec<DF> miss) {
  const DF d;
  const DI di;
  const auto v = hn::BitCast(di, hn::Add(hn::Set(d, 1.0f), hn::Abs(miss)));
  return hn::ShiftRight<12>(hn::Sub(v, hn::Set(di, 0x3F800000)));
}
HWY_INLINE int32_t RoughLogAt(float miss) {
  return (std::bit_cast<int32_t>(1.0f + std::fabs(miss)) - 0x3F800000) >> 12;
}

// Calls vectors(i) and places(i) over the 32s of n channels that count, and finish() every 4096
// channels, after which sums of 32 bits may start again.
template <class Vectors, class Places, class Finish>
HWY_INLINE void EachRough(size_t n, const Vectors& vectors, const Places& places,
                          const Finish& finish) {
  const size_t every = n < kEcqSampledRough ? 32 : 64;
  for (size_t begin = 0; begin < n; begin += every) {
    const size_t end = std::min(n, begin + 32);
    size_t i = begin;
    for (; i + hn::Lanes(DF()) <= end; i += hn::Lanes(DF())) vectors(i);
    for (; i < end; ++i) places(i);
    if (begin % kRoughBlock == kRoughBlock - every) finish();
  }
  finish();
}

double RoughBits(const float* x, const float* prediction, const float* inverse_step, size_t n) {
  const DF d;
  const DI di;
  int64_t sum = 0;
  auto sums = hn::Zero(di);
  EachRough(
      n,
      [&](size_t i) HWY_ATTR {
        const auto distance = hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, prediction + i));
        sums = hn::Add(sums, RoughLog(hn::Mul(distance, hn::LoadU(d, inverse_step + i))));
      },
      [&](size_t i) { sum += RoughLogAt((x[i] - prediction[i]) * inverse_step[i]); },
      [&]() HWY_ATTR {
        sum += hn::GetLane(hn::SumOfLanes(di, sums));
        sums = hn::Zero(di);
      });
  return static_cast<double>(sum) * 0x1p-11;
}

EcqRoughChoice RoughBitsOf(const float* x, const EcqPredictor& from, const float* inverse_step,
                           size_t n) {
  const DF d;
  const DI di;
  int64_t mean_sum = 0, slot_sum = 0;
  auto mean_sums = hn::Zero(di), slot_sums = hn::Zero(di);
  EachRough(
      n,
      [&](size_t i) HWY_ATTR {
        const auto mean = hn::LoadU(d, from.mean + i), inverse = hn::LoadU(d, inverse_step + i);
        const auto v = hn::LoadU(d, x + i), base = ecq::BaseOf<true>(from, i, mean);
        const auto from_mean = hn::Sub(v, ecq::PredictedOf(from, i, mean));
        const auto from_slot = hn::Sub(v, ecq::PredictedOf(from, i, base));
        mean_sums = hn::Add(mean_sums, RoughLog(hn::Mul(from_mean, inverse)));
        slot_sums = hn::Add(slot_sums, RoughLog(hn::Mul(from_slot, inverse)));
      },
      [&](size_t i) {
        const float carried = from.factor[i] * from.before[i];
        mean_sum += RoughLogAt((x[i] - (from.mean[i] + carried)) * inverse_step[i]);
        slot_sum += RoughLogAt((x[i] - EcqPredictedAt(from, i)) * inverse_step[i]);
      },
      [&]() HWY_ATTR {
        mean_sum += hn::GetLane(hn::SumOfLanes(di, mean_sums));
        slot_sum += hn::GetLane(hn::SumOfLanes(di, slot_sums));
        mean_sums = slot_sums = hn::Zero(di);
      });
  return {static_cast<double>(mean_sum) * 0x1p-11, static_cast<double>(slot_sum) * 0x1p-11};
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(MoveToward);
HWY_EXPORT(Blend);
HWY_EXPORT(AddProduct);
HWY_EXPORT(LearnShift);
HWY_EXPORT(Predict);
HWY_EXPORT(LearnRow);
HWY_EXPORT(LearnDitheredRow);
HWY_EXPORT(AddMoments);
HWY_EXPORT(RoughBitsOf);
HWY_EXPORT(SquaredMiss);
HWY_EXPORT(RoughBits);
}  // namespace

void EcqMoveToward(const float* x, float share, size_t n, float* mean) {
  HWY_DYNAMIC_DISPATCH(MoveToward)(x, share, n, mean);
}
void EcqBlend(const float* from, const float* to, float share, size_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(Blend)(from, to, share, n, out);
}
void EcqAddProduct(const float* base, const float* a, const float* x, size_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(AddProduct)(base, a, x, n, out);
}
void EcqAccumulate(const float* x, const float* y, size_t n, float* sum) {
  HWY_DYNAMIC_DISPATCH(AddProduct)(sum, x, y, n, sum);
}
void EcqLearnShift(const float* x, const float* base, float scale, size_t n, float* before,
                   float* sum_dd, float* sum_de) {
  HWY_DYNAMIC_DISPATCH(LearnShift)(x, base, scale, n, before, sum_dd, sum_de);
}
void EcqPredict(const EcqPredictor& from, size_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(Predict)(from, n, out);
}
uint32_t EcqLearnRow(const EcqLesson& lesson, size_t n, float* out) {
  return HWY_DYNAMIC_DISPATCH(LearnRow)(lesson, n, out);
}
uint32_t EcqLearnDitheredRow(const int32_t* q, const float* step, const float* dither, float share,
                             size_t n, float* expected, float* out) {
  return HWY_DYNAMIC_DISPATCH(LearnDitheredRow)(q, step, dither, share, n, expected, out);
}
Extent EcqAddMoments(const float* x, size_t rows, size_t stride, size_t n, double* sums,
                     double* squares) {
  return HWY_DYNAMIC_DISPATCH(AddMoments)(x, rows, stride, n, sums, squares);
}
EcqRoughChoice EcqRoughBitsOf(const float* x, const EcqPredictor& from, const float* inverse_step,
                              size_t n) {
  return HWY_DYNAMIC_DISPATCH(RoughBitsOf)(x, from, inverse_step, n);
}
double EcqSquaredMiss(const float* x, const float* x_hat, const float* inverse_step, size_t n) {
  return HWY_DYNAMIC_DISPATCH(SquaredMiss)(x, x_hat, inverse_step, n);
}
double EcqRoughBits(const float* x, const float* prediction, const float* inverse_step, size_t n) {
  return HWY_DYNAMIC_DISPATCH(RoughBits)(x, prediction, inverse_step, n);
}

}  // namespace isthmus
#endif  // HWY_ONCE
