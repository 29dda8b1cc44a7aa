#include "compression/group_format.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "compression/half_float.h"

namespace isthmus {
namespace {

void Complete(const GroupFormat& format, GroupParameters* p) {
  p->top = static_cast<float>(format.Top());
  p->offset = format.Centre();
  p->inverse = p->scale > 0.0f ? 1.0f / p->scale : 0.0f;
  // Exact: Centre has at most 7 significant bits and scale 8.
  if (format.symmetric) p->base = -(p->offset * p->scale);
}

float StoredScale(double scale) { return scale < 0x1p-126 ? 0.0f : Bf16Ceiling(scale); }

}  // namespace

GroupParameters FromRange(const GroupFormat& format, float lo, float hi) {
  GroupParameters p;
  const double levels = format.Top();
  if (format.symmetric) {
    const double alpha =
        std::max(std::fabs(static_cast<double>(lo)), std::fabs(static_cast<double>(hi)));
    p.scale = StoredScale(2.0 * alpha / levels);
  } else {
    const float down = Bf16Floor(lo);
    const double range = static_cast<double>(hi) - down;
    p.scale = hi > lo ? StoredScale(range / levels) : 0.0f;
    // A constant group decodes to its value: nearest serves better than down. Adding 0 turns -0
    // into +0.
    p.base = p.scale > 0.0f ? down : FloatFromBf16(Bf16FromFloat(lo)) + 0.0f;
    if (std::fabs(p.base) < 0x1p-126f) p.base = 0.0f;
    p.from = p.base;
  }
  Complete(format, &p);
  return p;
}

float RmsFactor(const GroupFormat& format) {
  static constexpr float kEven[] = {0.798f, 1.494f, 2.051f, 2.514f,
                                    2.916f, 3.278f, 3.611f, 3.922f};  // 2^b levels
  static constexpr float kOdd[] = {0.798f, 1.224f, 1.952f, 2.474f,
                                   2.899f, 3.270f, 3.607f, 3.920f};  // 2^b - 1 levels
  return (format.symmetric ? kOdd : kEven)[format.bits - 1];
}

void StoreParameters(const GroupFormat& format, const GroupParameters& parameters, uint8_t* out) {
  if (!format.symmetric) {
    const uint16_t base = Bf16TowardZero(parameters.base);
    std::memcpy(out, &base, 2);
    out += 2;
  }
  const uint16_t scale = Bf16TowardZero(parameters.scale);
  std::memcpy(out, &scale, 2);
}

bool LoadParameters(const GroupFormat& format, const uint8_t* in, GroupParameters* out) {
  *out = GroupParameters();
  uint16_t base = 0, scale;
  if (!format.symmetric) {
    std::memcpy(&base, in, 2);
    in += 2;
  }
  std::memcpy(&scale, in, 2);
  out->base = out->from = FloatFromBf16(base);
  out->scale = FloatFromBf16(scale);
  const double reach =
      std::fabs(static_cast<double>(out->base)) + static_cast<double>(out->scale) * format.Top();
  if ((scale & 0x8000u) != 0 || !(reach <= std::numeric_limits<float>::max()))
    return false;  // NaN fails the comparison too
  Complete(format, out);
  return true;
}

}  // namespace isthmus
