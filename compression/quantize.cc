// Scan, quantise and dequantise groups of values. Element-wise IEEE single operations in the order
// of reference.h; minima and maxima do not depend on the order, so the vector width does not show
// in the result.
#include <algorithm>
#include <bit>
#include <cstring>

#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/quantize.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DU = hn::RebindToUnsigned<DF>;

Extent ScanExtent(const float* x, size_t n) {
  const DF d;
  const DU du;
  const size_t lanes = hn::Lanes(d);
  Extent extent;
  if (n == 0) return extent;
  extent.lo = extent.hi = x[0];
  size_t i = 0;
  if (n >= lanes) {
    auto lo = hn::LoadU(d, x), hi = lo;
    auto magnitude = hn::Zero(du);
    for (; i + lanes <= n; i += lanes) {
      const auto v = hn::LoadU(d, x + i);
      lo = hn::Min(lo, v);
      hi = hn::Max(hi, v);
      magnitude = hn::Max(magnitude, hn::And(hn::BitCast(du, v), hn::Set(du, 0x7FFFFFFFu)));
    }
    extent.lo = hn::GetLane(hn::MinOfLanes(d, lo));
    extent.hi = hn::GetLane(hn::MaxOfLanes(d, hi));
    extent.magnitude = hn::GetLane(hn::MaxOfLanes(du, magnitude));
  }
  for (; i < n; ++i) {
    extent.lo = x[i] < extent.lo ? x[i] : extent.lo;
    extent.hi = x[i] > extent.hi ? x[i] : extent.hi;
    extent.magnitude = std::max(extent.magnitude, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu);
  }
  return extent;
}

void QuantizeGroup(const float* x, size_t n, const GroupParameters& p, const float* noise,
                   uint8_t* codes) {
  const DF d;
  const DU du;
  const hn::Rebind<uint8_t, DU> d8;
  const auto from = hn::Set(d, p.from), inverse = hn::Set(d, p.inverse),
             offset = hn::Set(d, p.offset);
  const auto top = hn::Set(d, p.top), zero = hn::Zero(d), magic = hn::Set(d, 8388608.0f);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    auto v = hn::Mul(hn::Sub(hn::LoadU(d, x + i), from), inverse);
    v = hn::Add(v, offset);
    if (noise != nullptr) v = hn::Add(v, hn::LoadU(d, noise + i));
    v = hn::Add(hn::Min(hn::Max(v, zero), top), magic);
    hn::StoreU(hn::U8FromU32(hn::And(hn::BitCast(du, v), hn::Set(du, 0xFFu))), d8, codes + i);
  }
  for (; i < n; ++i) codes[i] = reference::Quantize(x[i], p, noise != nullptr ? noise[i] : 0.0f);
}

float SquaredError(const float* x, size_t n, const GroupParameters& p) {
  const hn::CappedTag<float, 16> d;  // whatever the width: sum k is that of the values k, k + 16, …
  const size_t lanes = hn::Lanes(d);
  const auto from = hn::Set(d, p.from), inverse = hn::Set(d, p.inverse),
             offset = hn::Set(d, p.offset);
  const auto base = hn::Set(d, p.base), scale = hn::Set(d, p.scale);
  const auto top = hn::Set(d, p.top), zero = hn::Zero(d), magic = hn::Set(d, 8388608.0f);
  HWY_ALIGN float sums[16] = {};
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (size_t k = 0; k < 16; k += lanes) {
      const auto v = hn::LoadU(d, x + i + k);
      const auto u = hn::Add(hn::Mul(hn::Sub(v, from), inverse), offset);
      const auto code = hn::Sub(hn::Add(hn::Min(hn::Max(u, zero), top), magic), magic);
      const auto error = hn::Sub(v, hn::Add(base, hn::Mul(code, scale)));
      hn::Store(hn::Add(hn::Load(d, sums + k), hn::Mul(error, error)), d, sums + k);
    }
  }
  for (size_t k = 0; i + k < n; ++k) {
    const float error = x[i + k] - reference::Dequantize(reference::Quantize(x[i + k], p, 0.0f), p);
    const float square = error * error;
    sums[k] += square;
  }
  float total = 0.0f;
  for (float sum : sums) total += sum;
  return total;
}

void DequantizeGroup(const uint8_t* codes, size_t n, const GroupParameters& p, float* out) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const hn::Rebind<uint8_t, DF> d8;
  const auto base = hn::Set(d, p.base), scale = hn::Set(d, p.scale);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto code = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, codes + i)));
    hn::StoreU(hn::Add(base, hn::Mul(code, scale)), d, out + i);
  }
  for (; i < n; ++i) out[i] = reference::Dequantize(codes[i], p);
}

uint32_t QuantizeRow(const float* x, size_t n, size_t tile, const GroupFormat& format,
                     const float* noise, uint8_t* parameters, uint8_t* codes) {
  uint32_t magnitude = 0;
  for (size_t begin = 0; begin < n; begin += tile, parameters += format.ParameterBytes()) {
    const size_t length = std::min(tile, n - begin);
    const Extent extent = ScanExtent(x + begin, length);
    magnitude = std::max(magnitude, extent.magnitude);
    if (magnitude > kLargestMagnitude) return magnitude;
    const GroupParameters p = FitRange(format, extent, x + begin, length);
    StoreParameters(format, p, parameters);
    HWY_NAMESPACE::QuantizeGroup(x + begin, length, p, noise != nullptr ? noise + begin : nullptr,
                                 codes + begin);
  }
  return magnitude;
}

bool DequantizeRow(const uint8_t* codes, size_t n, size_t tile, const GroupFormat& format,
                   const uint8_t* parameters, float* out) {
  for (size_t begin = 0; begin < n; begin += tile, parameters += format.ParameterBytes()) {
    GroupParameters p;
    if (!LoadParameters(format, parameters, &p)) return false;
    HWY_NAMESPACE::DequantizeGroup(codes + begin, std::min(tile, n - begin), p, out + begin);
  }
  return true;
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(ScanExtent);
HWY_EXPORT(QuantizeGroup);
HWY_EXPORT(DequantizeGroup);
HWY_EXPORT(SquaredError);
HWY_EXPORT(QuantizeRow);
HWY_EXPORT(DequantizeRow);
}  // namespace

Extent ScanExtent(const float* x, size_t n) { return HWY_DYNAMIC_DISPATCH(ScanExtent)(x, n); }
void QuantizeGroup(const float* x, size_t n, const GroupParameters& parameters, const float* noise,
                   uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(QuantizeGroup)(x, n, parameters, noise, codes);
}
void DequantizeGroup(const uint8_t* codes, size_t n, const GroupParameters& parameters,
                     float* out) {
  HWY_DYNAMIC_DISPATCH(DequantizeGroup)(codes, n, parameters, out);
}
float SquaredError(const float* x, size_t n, const GroupParameters& parameters) {
  return HWY_DYNAMIC_DISPATCH(SquaredError)(x, n, parameters);
}
uint32_t QuantizeRow(const float* x, size_t n, size_t tile, const GroupFormat& format,
                     const float* noise, uint8_t* parameters, uint8_t* codes) {
  return HWY_DYNAMIC_DISPATCH(QuantizeRow)(x, n, tile, format, noise, parameters, codes);
}
bool DequantizeRow(const uint8_t* codes, size_t n, size_t tile, const GroupFormat& format,
                   const uint8_t* parameters, float* out) {
  return HWY_DYNAMIC_DISPATCH(DequantizeRow)(codes, n, tile, format, parameters, out);
}

}  // namespace isthmus
#endif  // HWY_ONCE
