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
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using D8 = hn::Rebind<uint8_t, DI>;

constexpr float kMostExpected = 2048.0f;
constexpr float kExpectedUnits = 4096.0f;
constexpr float kLeastExpected = 0x1p-9f;
constexpr float kReach = 4194304.0f;  // kEcqLargestCode
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

void Classify(const float* expected, int shift, size_t n, uint8_t* classes) {
  const DF d;
  const DU du;
  const DI di;
  const D8 d8;
  const auto offset = hn::Set(di, shift - 236), zero = hn::Zero(di),
             top = hn::Set(di, kEcqClasses - 1);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto bits = hn::BitCast(du, hn::LoadU(d, expected + i));
    const auto cls = hn::Add(hn::BitCast(di, hn::ShiftRight<22>(bits)), offset);
    const auto bounded = hn::Min(hn::Max(cls, zero), top);
    hn::StoreU(hn::U8FromU32(hn::BitCast(du, bounded)), d8, classes + i);
  }
  for (; i < n; ++i) classes[i] = static_cast<uint8_t>(EcqClassOf(expected[i], shift));
}

int64_t SumExpected(const float* expected, size_t n) {
  const DF d;
  const DI di;
  const auto most = hn::Set(d, kMostExpected), units = hn::Set(d, kExpectedUnits);
  auto sums = hn::Zero(di);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto bounded = hn::Min(hn::LoadU(d, expected + i), most);
    sums = hn::Add(sums, hn::ConvertTo(di, hn::Mul(bounded, units)));
  }
  int64_t sum = hn::GetLane(hn::SumOfLanes(di, sums));
  for (; i < n; ++i)
    sum += static_cast<int32_t>(std::min(expected[i], kMostExpected) * kExpectedUnits);
  return sum;
}

int64_t SumCodes(const int32_t* q, size_t n) {
  const DI di;
  const auto most = hn::Set(di, 2048);
  auto sums = hn::Zero(di);
  size_t i = 0;
  for (; i + hn::Lanes(di) <= n; i += hn::Lanes(di))
    sums = hn::Add(sums, hn::Min(hn::Abs(hn::LoadU(di, q + i)), most));
  int64_t sum = hn::GetLane(hn::SumOfLanes(di, sums));
  for (; i < n; ++i) sum += std::min(std::abs(q[i]), 2048);
  return sum * 4096;
}

uint32_t Quantize(const float* x, const float* prediction, const float* inverse_step,
                  const uint8_t* classes, const float* threshold_of_class, size_t n, int32_t* q) {
  const DF d;
  const DU du;
  const DI di;
  const D8 d8;
  const auto reach = hn::Set(d, kReach), half = hn::Set(d, 0.5f);
  auto most = hn::Zero(du);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto v = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, prediction + i)),
                           hn::LoadU(d, inverse_step + i));
    const auto magnitude = hn::Abs(v);
    most = hn::Max(most, hn::BitCast(du, magnitude));
    const auto bounded = hn::IfThenElse(hn::Lt(magnitude, reach), magnitude, reach);
    const auto index = hn::PromoteTo(di, hn::LoadU(d8, classes + i));
    const auto threshold = hn::GatherIndex(d, threshold_of_class, index);
    const auto level = hn::IfThenElseZero(hn::Ge(bounded, threshold), hn::Add(bounded, half));
    const auto code = hn::ConvertTo(di, level);
    const auto negative = hn::RebindMask(di, hn::Lt(v, hn::Zero(d)));
    hn::StoreU(hn::IfThenElse(negative, hn::Neg(code), code), di, q + i);
  }
  uint32_t largest = hn::GetLane(hn::MaxOfLanes(du, most));
  for (; i < n; ++i) {
    const float v = (x[i] - prediction[i]) * inverse_step[i];
    const float magnitude = std::fabs(v);
    largest = std::max(largest, std::bit_cast<uint32_t>(magnitude));
    const float bounded = magnitude < kReach ? magnitude : kReach;
    const float threshold = threshold_of_class[classes[i]];
    const int32_t code = bounded >= threshold ? static_cast<int32_t>(bounded + 0.5f) : 0;
    q[i] = v < 0.0f ? -code : code;
  }
  return largest;
}

uint32_t QuantizeDithered(const float* x, const float* inverse_step, const float* dither, size_t n,
                          int32_t* q) {
  const DF d;
  const DU du;
  const DI di;
  const auto reach = hn::Set(d, kReach), half = hn::Set(d, 0.5f);
  auto most = hn::Zero(du);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto v = hn::Add(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, inverse_step + i)),
                           hn::LoadU(d, dither + i));
    const auto magnitude = hn::Abs(v);
    most = hn::Max(most, hn::BitCast(du, magnitude));
    const auto bounded = hn::IfThenElse(hn::Lt(magnitude, reach), magnitude, reach);
    const auto code = hn::ConvertTo(di, hn::Add(bounded, half));
    const auto negative = hn::RebindMask(di, hn::Lt(v, hn::Zero(d)));
    hn::StoreU(hn::IfThenElse(negative, hn::Neg(code), code), di, q + i);
  }
  uint32_t largest = hn::GetLane(hn::MaxOfLanes(du, most));
  for (; i < n; ++i) {
    const float product = x[i] * inverse_step[i];
    const float v = product + dither[i];
    const float magnitude = std::fabs(v);
    largest = std::max(largest, std::bit_cast<uint32_t>(magnitude));
    const float bounded = magnitude < kReach ? magnitude : kReach;
    const int32_t code = static_cast<int32_t>(bounded + 0.5f);
    q[i] = v < 0.0f ? -code : code;
  }
  return largest;
}

void Reconstruct(const int32_t* q, const float* prediction, const float* step,
                 const uint8_t* classes, const float* gaps, size_t n, float* out) {
  const DF d;
  const DI di;
  const D8 d8;
  const auto three = hn::Set(di, 3);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto code = hn::LoadU(di, q + i);
    const auto level = hn::Abs(code);
    const auto cls = hn::PromoteTo(di, hn::LoadU(d8, classes + i));
    const auto index = hn::Add(hn::ShiftLeft<2>(cls), hn::Min(level, three));
    const auto inner = hn::Sub(hn::ConvertTo(d, level), hn::GatherIndex(d, gaps, index));
    const auto magnitude = hn::Mul(inner, hn::LoadU(d, step + i));
    const auto negative = hn::RebindMask(d, hn::Lt(code, hn::Zero(di)));
    const auto change = hn::IfThenElse(negative, hn::Neg(magnitude), magnitude);
    hn::StoreU(hn::Add(hn::LoadU(d, prediction + i), change), d, out + i);
  }
  for (; i < n; ++i) {
    const int32_t level = std::abs(q[i]);
    const float gap = gaps[classes[i] * 4 + std::min(level, 3)];
    const float magnitude = (static_cast<float>(level) - gap) * step[i];
    out[i] = prediction[i] + (q[i] < 0 ? -magnitude : magnitude);
  }
}

void ReconstructDithered(const int32_t* q, const float* step, const float* dither, size_t n,
                         float* out) {
  const DF d;
  const DI di;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto code = hn::ConvertTo(d, hn::LoadU(di, q + i));
    const auto inner = hn::Sub(code, hn::LoadU(d, dither + i));
    hn::StoreU(hn::Mul(inner, hn::LoadU(d, step + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = (static_cast<float>(q[i]) - dither[i]) * step[i];
}

void LearnExpected(const int32_t* q, float share, size_t n, float* expected) {
  const DF d;
  const DI di;
  const auto s = hn::Set(d, share), least = hn::Set(d, kLeastExpected);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto e = hn::LoadU(d, expected + i);
    const auto magnitude = hn::ConvertTo(d, hn::Abs(hn::LoadU(di, q + i)));
    const auto next = hn::Add(e, hn::Mul(hn::Sub(magnitude, e), s));
    hn::StoreU(hn::Max(next, least), d, expected + i);
  }
  for (; i < n; ++i) {
    const float change = (static_cast<float>(std::abs(q[i])) - expected[i]) * share;
    const float next = expected[i] + change;
    expected[i] = next > kLeastExpected ? next : kLeastExpected;
  }
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

double RoughBits(const float* x, const float* prediction, const float* inverse_step, size_t n) {
  const DF d;
  const DI di;
  const auto one = hn::Set(d, 1.0f);
  const auto bias = hn::Set(di, 0x3F800000);
  int64_t sum = 0;
  for (size_t begin = 0; begin < n; begin += kRoughBlock) {
    const size_t end = std::min(n, begin + kRoughBlock);
    auto sums = hn::Zero(di);
    size_t i = begin;
    for (; i + hn::Lanes(d) <= end; i += hn::Lanes(d)) {
      const auto miss = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, prediction + i)),
                                hn::LoadU(d, inverse_step + i));
      const auto v = hn::BitCast(di, hn::Add(one, hn::Abs(miss)));
      sums = hn::Add(sums, hn::ShiftRight<12>(hn::Sub(v, bias)));
    }
    sum += hn::GetLane(hn::SumOfLanes(di, sums));
    for (; i < end; ++i) {
      const float miss = std::fabs((x[i] - prediction[i]) * inverse_step[i]);
      sum += (std::bit_cast<int32_t>(1.0f + miss) - 0x3F800000) >> 12;
    }
  }
  return static_cast<double>(sum) * 0x1p-11;
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
HWY_EXPORT(Classify);
HWY_EXPORT(SumExpected);
HWY_EXPORT(SumCodes);
HWY_EXPORT(Quantize);
HWY_EXPORT(QuantizeDithered);
HWY_EXPORT(Reconstruct);
HWY_EXPORT(ReconstructDithered);
HWY_EXPORT(LearnExpected);
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
void EcqClassify(const float* expected, int shift, size_t n, uint8_t* classes) {
  HWY_DYNAMIC_DISPATCH(Classify)(expected, shift, n, classes);
}
int64_t EcqSumExpected(const float* expected, size_t n) {
  return HWY_DYNAMIC_DISPATCH(SumExpected)(expected, n);
}
int64_t EcqSumCodes(const int32_t* q, size_t n) { return HWY_DYNAMIC_DISPATCH(SumCodes)(q, n); }
uint32_t EcqQuantize(const float* x, const float* prediction, const float* inverse_step,
                     const uint8_t* classes, const float* threshold_of_class, size_t n,
                     int32_t* q) {
  return HWY_DYNAMIC_DISPATCH(Quantize)(x, prediction, inverse_step, classes, threshold_of_class, n,
                                        q);
}
uint32_t EcqQuantizeDithered(const float* x, const float* inverse_step, const float* dither,
                             size_t n, int32_t* q) {
  return HWY_DYNAMIC_DISPATCH(QuantizeDithered)(x, inverse_step, dither, n, q);
}
void EcqReconstruct(const int32_t* q, const float* prediction, const float* step,
                    const uint8_t* classes, const float* gaps, size_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(Reconstruct)(q, prediction, step, classes, gaps, n, out);
}
void EcqReconstructDithered(const int32_t* q, const float* step, const float* dither, size_t n,
                            float* out) {
  HWY_DYNAMIC_DISPATCH(ReconstructDithered)(q, step, dither, n, out);
}
void EcqLearnExpected(const int32_t* q, float share, size_t n, float* expected) {
  HWY_DYNAMIC_DISPATCH(LearnExpected)(q, share, n, expected);
}
double EcqSquaredMiss(const float* x, const float* x_hat, const float* inverse_step, size_t n) {
  return HWY_DYNAMIC_DISPATCH(SquaredMiss)(x, x_hat, inverse_step, n);
}
double EcqRoughBits(const float* x, const float* prediction, const float* inverse_step, size_t n) {
  return HWY_DYNAMIC_DISPATCH(RoughBits)(x, prediction, inverse_step, n);
}

}  // namespace isthmus
#endif  // HWY_ONCE
