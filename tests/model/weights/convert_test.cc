#include "model/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace isthmus {
namespace {

// Round to nearest, ties to even, by search: the reference for both formats. `bits` ascend with the
// value for positive numbers.
uint16_t Nearest(float value, float (*widen)(uint16_t), uint16_t infinity) {
  uint16_t low = 0, high = infinity;  // widen(low) <= value < widen(high)
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (widen(middle) <= value ? low : high) = middle;
  }
  const double below = widen(low);
  // Infinity stands where the next finite value would: one spacing above the largest.
  const double above = high == infinity ? 2.0 * below - widen(static_cast<uint16_t>(low - 1))
                                        : static_cast<double>(widen(high));
  const double down = value - below, up = above - value;
  if (down != up) return down < up ? low : high;
  return low % 2 == 0 ? low : high;
}

TEST(Convert, EveryBf16AndF16RoundTrips) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float b = FloatFromBf16(bits), h = FloatFromF16(bits);
    if (std::isnan(b)) {
      EXPECT_TRUE(std::isnan(FloatFromBf16(Bf16FromFloat(b))));
    } else {
      EXPECT_EQ(Bf16FromFloat(b), bits);
    }
    if (std::isnan(h)) {
      EXPECT_TRUE(std::isnan(FloatFromF16(F16FromFloat(h))));
    } else {
      EXPECT_EQ(F16FromFloat(h), bits) << h;
    }
  }
}

TEST(Convert, RoundsToNearestEven) {
  // Between every two neighbours: the tie, and one float below and above it.
  for (uint16_t i = 0; i < 0x7C00; i = static_cast<uint16_t>(i + 7)) {
    const float low = FloatFromF16(i);
    const float high = i + 1 == 0x7C00 ? 65536.0f : FloatFromF16(static_cast<uint16_t>(i + 1));
    const float tie = low + (high - low) / 2;
    for (float x : {std::nextafter(tie, 0.0f), tie, std::nextafter(tie, 1e9f)}) {
      EXPECT_EQ(F16FromFloat(x), Nearest(x, FloatFromF16, 0x7C00)) << x;
      EXPECT_EQ(F16FromFloat(-x), Nearest(x, FloatFromF16, 0x7C00) | 0x8000) << x;
    }
  }
  for (uint16_t i = 1; i < 0x7F7F; i = static_cast<uint16_t>(i + 11)) {
    const float low = FloatFromBf16(i);
    const float tie = low + (FloatFromBf16(static_cast<uint16_t>(i + 1)) - low) / 2;
    for (float x : {std::nextafter(tie, 0.0f), tie, std::nextafter(tie, 3e38f)}) {
      EXPECT_EQ(Bf16FromFloat(x), Nearest(x, FloatFromBf16, 0x7F80)) << x;
    }
  }
}

TEST(Convert, EndsOfTheRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(F16FromFloat(65504.0f), 0x7BFF);
  EXPECT_EQ(F16FromFloat(65519.996f), 0x7BFF);
  EXPECT_EQ(F16FromFloat(65520.0f), 0x7C00);
  EXPECT_EQ(F16FromFloat(-infinity), 0xFC00);
  EXPECT_EQ(F16FromFloat(0x1p-25f), 0);  // a tie between 0 and the smallest: even is 0
  EXPECT_EQ(F16FromFloat(0x1.8p-25f), 1);
  EXPECT_EQ(Bf16FromFloat(infinity), 0x7F80);
  EXPECT_EQ(Bf16FromFloat(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(FloatFromF16(1), 0x1p-24f);
  EXPECT_EQ(FloatFromF16(0x3C00), 1.0f);
  EXPECT_EQ(FloatFromBf16(0x3F80), 1.0f);
}

TEST(Convert, Tensors) {
  const Tensor values = Tensor::FromFloats({2, 2}, {1.0f, -0.5f, 3.25f, 1e-3f});
  EXPECT_EQ(ToF32(values)->data(), values.data());
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    const Tensor narrow = FromF32(values, dtype).value();
    EXPECT_EQ(narrow.dtype(), dtype);
    EXPECT_EQ(narrow.shape(), values.shape());
    const Tensor wide = ToF32(narrow).value();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(wide.floats()[i], values.floats()[i]);
    EXPECT_NEAR(wide.floats()[3], 1e-3f, 4e-6f);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ToF32(Tensor::Zeros(DType::kI32, {1})).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FromF32(values, DType::kI64).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(FromF32(Tensor::Zeros(DType::kBF16, {1}), DType::kF32).status()));
}

}  // namespace
}  // namespace isthmus
