// fp32 to and from bf16 and IEEE half by integer arithmetic, the same on every instruction set
// (F16C and its emulations differ in how they round subnormals; these do not).
#include <algorithm>
#include <bit>
#include <cstring>

#include "compression/half_float.h"
#include "compression/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/convert.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D32 = hn::ScalableTag<uint32_t>;
using V32 = hn::Vec<D32>;

HWY_INLINE V32 Magnitude(D32 d, V32 bits) { return hn::And(bits, hn::Set(d, 0x7FFFFFFFu)); }

// The low halves of 32-bit lanes that fit 16 bits.
HWY_INLINE void StoreLow16(V32 v, uint16_t* out) {
  const hn::Rebind<uint16_t, D32> d16;
  const hn::RebindToSigned<D32> di;
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, v)), d16, out);
}
HWY_INLINE V32 LoadLow16(D32 d, const uint16_t* in) {
  const hn::Rebind<uint16_t, D32> d16;
  return hn::PromoteTo(d, hn::LoadU(d16, in));
}

uint32_t Bf16FromFloats(const float* x, size_t n, uint16_t* out) {
  const D32 d;
  const hn::RebindToFloat<D32> df;
  V32 largest = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const V32 bits = hn::BitCast(d, hn::LoadU(df, x + i));
    largest = hn::Max(largest, Magnitude(d, bits));
    const V32 odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1u));
    StoreLow16(hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7FFFu)))), out + i);
  }
  uint32_t magnitude = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < n; ++i) {
    magnitude = std::max(magnitude, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu);
    out[i] = Bf16FromFloat(x[i]);
  }
  return magnitude;
}

uint32_t FloatsFromBf16(const uint16_t* in, size_t n, float* out) {
  const D32 d;
  const hn::RebindToFloat<D32> df;
  V32 largest = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const V32 bits = LoadLow16(d, in + i);
    largest = hn::Max(largest, hn::And(bits, hn::Set(d, 0x7FFFu)));
    hn::StoreU(hn::BitCast(df, hn::ShiftLeft<16>(bits)), df, out + i);
  }
  uint32_t magnitude = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < n; ++i) {
    magnitude = std::max<uint32_t>(magnitude, in[i] & 0x7FFFu);
    out[i] = FloatFromBf16(in[i]);
  }
  return magnitude;
}

HWY_INLINE V32 HalfBits(D32 d, V32 bits) {
  const hn::RebindToFloat<D32> df;
  const V32 magnitude = Magnitude(d, bits);
  const V32 sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 0x8000u));
  const V32 odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d, 1u));
  const V32 normal = hn::ShiftRight<13>(hn::Add(magnitude, hn::Add(odd, hn::Set(d, 0xC8000FFFu))));
  const auto raised = hn::Add(hn::BitCast(df, magnitude), hn::Set(df, 0.5f));
  const V32 subnormal = hn::Sub(hn::BitCast(d, raised), hn::Set(d, 0x3F000000u));
  V32 half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x38800000u)), subnormal, normal);
  half =
      hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, kHalfOverflow)), half, hn::Set(d, kHalfLargest));
  return hn::Or(half, sign);
}

uint32_t HalfFromFloats(const float* x, size_t n, float factor, uint16_t* out) {
  const D32 d;
  const hn::RebindToFloat<D32> df;
  const auto scale = hn::Set(df, factor);
  V32 largest = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto v = hn::LoadU(df, x + i);
    largest = hn::Max(largest, Magnitude(d, hn::BitCast(d, v)));
    StoreLow16(HalfBits(d, hn::BitCast(d, hn::Mul(v, scale))), out + i);
  }
  uint32_t magnitude = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < n; ++i) {
    magnitude = std::max(magnitude, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu);
    out[i] = HalfFromFloat(x[i] * factor);
  }
  return magnitude;
}

uint32_t FloatsFromHalf(const uint16_t* in, size_t n, float factor, float* out) {
  const D32 d;
  const hn::RebindToFloat<D32> df;
  const hn::RebindToSigned<D32> di;
  const auto scale = hn::Set(df, factor);
  V32 largest = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const V32 bits = LoadLow16(d, in + i);
    const V32 rest = hn::And(bits, hn::Set(d, 0x7FFFu));
    largest = hn::Max(largest, rest);
    const V32 sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(d, 0x8000u)));
    const V32 normal = hn::Add(hn::ShiftLeft<13>(rest), hn::Set(d, 0x38000000u));
    const auto small = hn::Mul(hn::ConvertTo(df, hn::BitCast(di, rest)), hn::Set(df, 0x1p-24f));
    const V32 value =
        hn::IfThenElse(hn::Lt(rest, hn::Set(d, 0x0400u)), hn::BitCast(d, small), normal);
    hn::StoreU(hn::Mul(hn::BitCast(df, hn::Or(value, sign)), scale), df, out + i);
  }
  uint32_t magnitude = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < n; ++i) {
    magnitude = std::max<uint32_t>(magnitude, in[i] & 0x7FFFu);
    out[i] = FloatFromHalf(in[i]) * factor;
  }
  return magnitude;
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(Bf16FromFloats);
HWY_EXPORT(FloatsFromBf16);
HWY_EXPORT(HalfFromFloats);
HWY_EXPORT(FloatsFromHalf);
}  // namespace

uint32_t Bf16FromFloats(const float* x, size_t n, uint16_t* out) {
  return HWY_DYNAMIC_DISPATCH(Bf16FromFloats)(x, n, out);
}
uint32_t FloatsFromBf16(const uint16_t* in, size_t n, float* out) {
  return HWY_DYNAMIC_DISPATCH(FloatsFromBf16)(in, n, out);
}
uint32_t HalfFromFloats(const float* x, size_t n, float factor, uint16_t* out) {
  return HWY_DYNAMIC_DISPATCH(HalfFromFloats)(x, n, factor, out);
}
uint32_t FloatsFromHalf(const uint16_t* in, size_t n, float factor, float* out) {
  return HWY_DYNAMIC_DISPATCH(FloatsFromHalf)(in, n, factor, out);
}

int64_t CountBeyondHalf(const float* x, size_t n) {
  return std::count_if(x, x + n, [](float v) {
    return (std::bit_cast<uint32_t>(v) & 0x7FFFFFFFu) >= kHalfOverflow;
  });
}

}  // namespace isthmus
#endif  // HWY_ONCE
