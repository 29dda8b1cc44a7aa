#include "compression/levels.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/levels.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A binary search in every lane. A code is a count of comparisons, so the vector width does not
// show.
void NearestLevels(const Levels& levels, const float* x, size_t n, float inverse, uint8_t* codes) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const float* borders = levels.borders.data();
  const auto factor = hn::Set(d, inverse);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto v = hn::Mul(hn::LoadU(d, x + i), factor);
    auto at = hn::Zero(di);
    for (int step = 1 << (levels.bits - 1); step > 0; step /= 2) {
      const auto border = hn::GatherIndex(d, borders, hn::Add(at, hn::Set(di, step - 1)));
      const auto above = hn::RebindMask(di, hn::Gt(v, border));
      at = hn::Add(at, hn::IfThenElseZero(above, hn::Set(di, step)));
    }
    hn::StoreU(hn::U8FromU32(hn::BitCast(du, at)), d8, codes + i);
  }
  for (; i < n; ++i) codes[i] = reference::NearestLevel(levels, x[i] * inverse);
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(NearestLevels);
}  // namespace

void NearestLevels(const Levels& levels, const float* x, size_t n, float inverse, uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(NearestLevels)(levels, x, n, inverse, codes);
}

uint8_t reference::NearestLevel(const Levels& levels, float v) {
  size_t at = 0;
  for (size_t step = size_t{1} << (levels.bits - 1); step > 0; step /= 2)
    if (v > levels.borders[at + step - 1]) at += step;
  return static_cast<uint8_t>(at);
}

Levels MakeLevels(std::vector<float> rising) {
  Levels levels;
  levels.values = std::move(rising);
  while ((size_t{1} << levels.bits) < levels.values.size()) ++levels.bits;
  levels.borders.assign((size_t{1} << levels.bits) - 1, std::numeric_limits<float>::infinity());
  for (size_t i = 0; i + 1 < levels.values.size(); ++i)
    levels.borders[i] = 0.5f * (levels.values[i] + levels.values[i + 1]);
  return levels;
}

namespace {

// `magnitudes` rise from 0; divided by the last of them.
Levels Mirrored(const std::vector<double>& magnitudes) {
  std::vector<float> values;
  const double top = magnitudes.back();
  for (size_t i = magnitudes.size(); i-- > 1;)
    values.push_back(static_cast<float>(-magnitudes[i] / top));
  for (const double magnitude : magnitudes) values.push_back(static_cast<float>(magnitude / top));
  return MakeLevels(std::move(values));
}

}  // namespace

// Every number here is made by exact powers of two and one division: the same on every machine.
Levels MinifloatLevels(int exponent, int mantissa) {
  std::vector<double> magnitudes;
  const int steps = 1 << mantissa;
  for (int e = 0; e < 1 << exponent; ++e) {
    double unit = 1.0;  // of the last place, relative to that of the subnormals
    for (int k = 1; k < e; ++k) unit *= 2.0;
    for (int m = 0; m < steps; ++m) magnitudes.push_back(((e > 0 ? steps : 0) + m) * unit);
  }
  return Mirrored(magnitudes);
}

Levels NormalFloat4Levels() {
  return MakeLevels({-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
                     -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
                     0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f,
                     0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
                     0.7229568362236023f, 1.0f});
}

Levels Dynamic8Levels() {
  std::vector<float> values = {0.0f, 1.0f};
  double power = 1e-6;
  for (int i = 0; i < 7; ++i, power *= 10.0) {
    const int items = 1 << i;  // means of neighbours of items + 1 points from 0.1 to 1
    for (int k = 0; k < items; ++k) {
      const double mean = 0.1 + 0.9 * (k + 0.5) / items;
      values.push_back(static_cast<float>(mean * power));
      values.push_back(static_cast<float>(-mean * power));
    }
  }
  std::sort(values.begin(), values.end());
  return MakeLevels(std::move(values));
}

Levels PowerLevels(int bits) {
  std::vector<double> magnitudes = {0.0};
  double value = 1.0;
  for (int k = 1; k < 1 << (bits - 1); ++k, value *= 2.0) magnitudes.push_back(value);
  return Mirrored(magnitudes);
}

}  // namespace isthmus
#endif  // HWY_ONCE
