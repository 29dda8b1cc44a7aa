#include "compression/group_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/reference.h"
#include "frames.h"

namespace isthmus {
namespace {

TEST(HalfFloat, RoundTripsEveryFinitePattern) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    if ((bits & 0x7FFFu) < 0x7C00u) {
      EXPECT_EQ(HalfFromFloat(FloatFromHalf(half)), half);
    }
    if ((bits & 0x7FFFu) <= 0x7E80u) {
      EXPECT_EQ(Bf16FromFloat(FloatFromBf16(half)), half);
    }
  }
}

TEST(HalfFloat, RoundsToNearestTiesToEvenAndSaturates) {
  EXPECT_EQ(FloatFromHalf(HalfFromFloat(1.0f + 0x1p-11f)), 1.0f);                // tie, even below
  EXPECT_EQ(FloatFromHalf(HalfFromFloat(1.0f + 3 * 0x1p-11f)), 1.0f + 0x1p-9f);  // tie, even above
  EXPECT_EQ(FloatFromHalf(HalfFromFloat(1.0f + 0x1.1p-11f)), 1.0f + 0x1p-10f);
  EXPECT_EQ(FloatFromHalf(HalfFromFloat(0x1p-25f)), 0.0f);
  EXPECT_EQ(FloatFromHalf(HalfFromFloat(0x1.8p-25f)), 0x1p-24f);
  EXPECT_EQ(FloatFromHalf(HalfFromFloat(65519.0f)), 65504.0f);
  EXPECT_EQ(FloatFromHalf(HalfFromFloat(-1e9f)), -65504.0f);
  EXPECT_EQ(FloatFromBf16(Bf16FromFloat(1.0f + 0x1p-8f)), 1.0f);
  EXPECT_EQ(FloatFromBf16(Bf16FromFloat(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
}

TEST(HalfFloat, CeilingAndFloorEncloseTheValue) {
  for (float x : Values(3, 400, 10, 1e-3f)) {
    const float up = Bf16Ceiling(x), down = Bf16Floor(x);
    EXPECT_GE(up, x);
    EXPECT_LE(down, x);
    EXPECT_LE(up - down, std::fabs(x) * 0x1p-7f);
    EXPECT_EQ(FloatFromBf16(Bf16FromFloat(up)), up);
    EXPECT_EQ(FloatFromBf16(Bf16FromFloat(down)), down);
  }
  EXPECT_EQ(Bf16Ceiling(1.5), 1.5f);
  EXPECT_EQ(Bf16Floor(1.5), 1.5f);
  EXPECT_EQ(Bf16Ceiling(-1.0 - 0x1p-40), -1.0f);
  EXPECT_EQ(Bf16Ceiling(1.0 + 0x1p-40), 1.0f + 0x1p-7f);
  EXPECT_EQ(Bf16Floor(-1.0 - 0x1p-40), -1.0f - 0x1p-7f);
  EXPECT_EQ(Bf16Ceiling(0x1p-130), 0x1p-126f);
  EXPECT_EQ(Bf16Ceiling(-0x1p-130), 0.0f);
}

TEST(GroupFormat, EveryLevelIsUsedAndNothingClips) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (bool symmetric : {false, true}) {
      const GroupFormat format{bits, symmetric, RangeRule::kMinMax};
      EXPECT_EQ(format.Top() + 1, symmetric && bits > 1 ? (1 << bits) - 1 : 1 << bits);
      const std::vector<float> x = Values(static_cast<uint64_t>(bits), 4, 16);
      const Extent extent = reference::ScanExtent(x.data(), x.size());
      const GroupParameters p = FitRange(format, extent, x.data(), x.size());
      for (float v : x) {
        const float error =
            std::fabs(reference::Dequantize(reference::Quantize(v, p, 0.0f), p) - v);
        EXPECT_LE(error, 0.5f * p.scale * (1 + 1e-5f)) << bits << symmetric;
      }
      if (symmetric && bits > 1) {
        EXPECT_EQ(reference::Dequantize(reference::Quantize(0.0f, p, 0.0f), p), 0.0f);
        EXPECT_EQ(reference::Dequantize(reference::Quantize(-extent.lo, p, 0.0f), p),
                  -reference::Dequantize(reference::Quantize(extent.lo, p, 0.0f), p));
      }
    }
  }
}

TEST(GroupFormat, ZeroRangeDecodesToItsValue) {
  for (float value : {0.0f, 1.0f, -2.5f, 1e-40f}) {
    const GroupFormat format{4, false, RangeRule::kMinMax};
    const GroupParameters p = FromRange(format, value, value);
    EXPECT_EQ(p.scale, 0.0f);
    EXPECT_EQ(reference::Dequantize(reference::Quantize(value, p, 0.49f), p),
              std::fabs(value) < 1e-37f ? 0.0f : value);
  }
}

TEST(GroupFormat, TwoSymmetricLevelsSitAtTheRms) {
  const std::vector<float> x = Values(5, 100, 7);
  const GroupFormat format{1, true, RangeRule::kRms};
  const GroupParameters p =
      FitRange(format, reference::ScanExtent(x.data(), x.size()), x.data(), x.size());
  const double rms = std::sqrt(Energy(x) / static_cast<double>(x.size()));
  EXPECT_NEAR(reference::Dequantize(1, p), 0.798 * rms, 0.01 * rms);
  EXPECT_EQ(reference::Dequantize(0, p), -reference::Dequantize(1, p));
}

TEST(GroupFormat, StoredParametersComeBackAndNonsenseIsRefused) {
  const GroupFormat format{3, false, RangeRule::kMinMax};
  const GroupParameters p = FromRange(format, -1.7f, 2.9f);
  uint8_t stored[4];
  StoreParameters(format, p, stored);
  GroupParameters q;
  ASSERT_TRUE(LoadParameters(format, stored, &q));
  EXPECT_EQ(p.base, q.base);
  EXPECT_EQ(p.scale, q.scale);
  EXPECT_EQ(p.inverse, q.inverse);
  for (uint16_t bad :
       {0x7F80, 0x7FC0, 0xBF80, 0x7F7F}) {  // infinity, NaN, negative, 7 * scale overflows
    std::memcpy(stored + 2, &bad, 2);
    EXPECT_FALSE(LoadParameters(format, stored, &q)) << bad;
  }
}

TEST(GroupFormat, StochasticRoundingIsUnbiased) {
  // 40000 roundings of one value between two levels: the mean is off by at most 4 sigma = 4 * 0.5 /
  // 200 of a step.
  const GroupFormat format{2, false, RangeRule::kMinMax};
  const GroupParameters p = FromRange(format, -1.0f, 1.0f);
  for (float x : {-0.9f, -0.2f, 0.1f, 0.55f}) {
    std::vector<float> noise(40000);
    FillNoise(77, 0, 0, noise.size(), noise.data());
    double sum = 0;
    for (float n : noise) sum += reference::Dequantize(reference::Quantize(x, p, n), p);
    EXPECT_NEAR(sum / static_cast<double>(noise.size()), x, p.scale * 0.01) << x;
  }
}

}  // namespace
}  // namespace isthmus
