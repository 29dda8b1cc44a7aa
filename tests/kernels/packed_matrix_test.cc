#include "kernels/packed_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/kernels/matrices.h"

namespace isthmus {
namespace {

constexpr int64_t kOut = 70;
constexpr int64_t kIn = 172;  // 64 + 64 + 44

// Bytes at a multiple of 64.
std::shared_ptr<uint8_t[]> AlignedCopy(absl::Span<const uint8_t> bytes) {
  auto* p = static_cast<uint8_t*>(::operator new[](bytes.size() + 64, std::align_val_t{64}));
  std::memcpy(p, bytes.data(), bytes.size());
  return {p, [](uint8_t* q) { ::operator delete[](q, std::align_val_t{64}); }};
}

std::vector<float> Dequantized(const PackedMatrix& w) {
  std::vector<float> values(w.out() * w.in());
  w.Dequantize(0, w.out(), values.data());
  return values;
}

// Root-mean-square error over that of the values, of a normal distribution. From the step of a
// uniform quantiser (absmax of 64 normal values is about 2.5 deviations: 2.5/7.5/sqrt(12) = 0.096)
// and, for the minifloats, half a unit in the last place.
double Bound(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return 0.0;
    case WeightFormat::kBf16:
      return 0.002;
    case WeightFormat::kInt8:
    case WeightFormat::kInt8Group:
      return 0.008;
    case WeightFormat::kFp8:
      return 0.03;
    default:
      return 0.115;
  }
}

TEST(PackedMatrixTest, EveryFormatRestoresTheWeightsWithinItsError) {
  const std::vector<float> weights = RandomFloats(kOut * kIn, 1);
  const std::vector<double> exact(weights.begin(), weights.end());
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    const auto packed = PackedMatrix::Pack(weights, kOut, kIn, spec);
    ASSERT_TRUE(packed.ok()) << packed.status();
    const double error = RelativeError(Dequantized(*packed), exact);
    EXPECT_LE(error, Bound(spec.format)) << WeightFormatText(spec);
    EXPECT_EQ(static_cast<int64_t>(packed->bytes().size()),
              *PackedMatrix::PackedBytes(kOut, kIn, spec));
  }
}

TEST(PackedMatrixTest, ARaggedLastGroupHasItsOwnScale) {
  // The last 44 inputs are 1000 times smaller: they would all be 0 under a neighbour's scale.
  std::vector<float> weights = RandomFloats(kOut * kIn, 2);
  for (int64_t n = 0; n < kOut; ++n) {
    for (int64_t k = 128; k < kIn; ++k) weights[n * kIn + k] *= 1e-3f;
  }
  const auto packed = PackedMatrix::Pack(weights, kOut, kIn, {WeightFormat::kInt4Group, 64});
  ASSERT_TRUE(packed.ok());
  double error = 0.0, norm = 0.0;
  for (int64_t n = 0; n < kOut; ++n) {
    for (int64_t k = 128; k < kIn; ++k) {
      const double e = packed->At(n, k) - weights[n * kIn + k];
      error += e * e;
      norm += double{weights[n * kIn + k]} * weights[n * kIn + k];
    }
  }
  EXPECT_LT(std::sqrt(error / norm), 0.115);
}

TEST(PackedMatrixTest, AViewOfTheBytesIsTheSameMatrix) {
  const std::vector<float> weights = RandomFloats(kOut * kIn, 3);
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    const auto packed = PackedMatrix::Pack(weights, kOut, kIn, spec);
    ASSERT_TRUE(packed.ok());
    const auto copy = AlignedCopy(packed->bytes());
    const auto view =
        PackedMatrix::View({copy.get(), packed->bytes().size()}, kOut, kIn, spec, copy);
    ASSERT_TRUE(view.ok()) << view.status();
    EXPECT_EQ(Dequantized(*view), Dequantized(*packed)) << WeightFormatText(spec);
  }
}

TEST(PackedMatrixTest, WrongSizesGroupsAndValuesAreRefused) {
  const WeightFormatSpec int4 = {WeightFormat::kInt4Group, 64};
  std::vector<float> weights(kOut * kIn, 1.0f);
  EXPECT_FALSE(PackedMatrix::Pack(weights, kOut, kIn + 1, int4).ok());
  EXPECT_FALSE(PackedMatrix::Pack(weights, kOut, kIn, {WeightFormat::kInt4Group, 48}).ok());
  EXPECT_FALSE(PackedMatrix::Pack(weights, kOut, kIn, {WeightFormat::kInt8, 64}).ok());
  EXPECT_FALSE(PackedMatrix::Pack({}, 0, kIn, int4).ok());
  weights[7] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(PackedMatrix::Pack(weights, kOut, kIn, int4).ok());
  weights[7] = 1.0f;
  const auto packed = PackedMatrix::Pack(weights, kOut, kIn, int4);
  ASSERT_TRUE(packed.ok());
  const auto copy = AlignedCopy(packed->bytes());
  const size_t size = packed->bytes().size();
  EXPECT_FALSE(PackedMatrix::View({copy.get(), size - 1}, kOut, kIn, int4, copy).ok());
  EXPECT_FALSE(PackedMatrix::View({copy.get() + 1, size}, kOut, kIn, int4, copy).ok());
  EXPECT_FALSE(PackedMatrix::View({copy.get(), size}, -kOut, kIn, int4, copy).ok());
}

// Lin et al., "QServe": level 1 within +-119 leaves room for the rounding of level 2.
TEST(PackedMatrixTest, ProgressiveCodesNeverLeaveEightBits) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::vector<float> weights = RandomFloats(512, seed);
    for (size_t i = 0; i < weights.size(); i += 37) weights[i] *= 8.0f;
    const ChannelCodes channel = QuantizeChannel(weights, {WeightFormat::kProgressive4, 64});
    for (size_t i = 0; i < weights.size(); ++i) {
      const int restored = (channel.codes[i] - channel.zeros[i / 64]) * int{channel.level2[i / 64]};
      ASSERT_LE(std::abs(restored), 127) << "seed " << seed << " weight " << i;
    }
  }
}

}  // namespace
}  // namespace isthmus
