#include "kernels/trained_codes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "kernels/matmul.h"
#include "tests/kernels/matrices.h"

namespace isthmus {
namespace {

constexpr int64_t kOut = 70;
constexpr int64_t kIn = 45;
constexpr uint64_t kKey = 99;
constexpr float kLeast = std::numeric_limits<float>::min();  // no scale is below it, but 0

// A matrix over bytes of its own.
struct Held {
  explicit Held(bool transposed) : order{kOut, kIn, transposed} {
    const int64_t size = *PackedMatrix::PackedBytes(kOut, kIn, TrainedCodes::kSpec);
    bytes.reset(
        static_cast<uint8_t*>(::operator new[](static_cast<size_t>(size), std::align_val_t{64})));
    codes = std::make_unique<TrainedCodes>(bytes.get(), order);
  }
  struct Delete {
    void operator()(uint8_t* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::vector<float> Values() const {
    std::vector<float> values(kOut * kIn);
    codes->Read(0, kOut * kIn, values.data());
    return values;
  }
  size_t At(int64_t channel, int64_t input) const {
    return static_cast<size_t>(order.transposed ? input * kOut + channel : channel * kIn + input);
  }
  StoredOrder order;
  std::unique_ptr<uint8_t[], Delete> bytes;
  std::unique_ptr<TrainedCodes> codes;
};

// Channels of magnitudes from 1e-44 (no normal number) to 1e30, one of zeros, one whose largest is
// 127 codes and one just above.
std::vector<float> Values(const Held& held) {
  std::vector<float> values = RandomFloats(kOut * kIn, 3);
  for (int64_t channel = 0; channel < kOut; ++channel) {
    const double magnitude = channel == 5 ? 0.0 : std::pow(10.0, channel * 74.0 / kOut - 44.0);
    for (int64_t k = 0; k < kIn; ++k) {
      float& value = values[held.At(channel, k)];
      value = static_cast<float>(value * magnitude);
      if (channel == 6 || channel == 7) value = static_cast<float>(k);
    }
  }
  values[held.At(6, 3)] = -127.0f;
  values[held.At(7, 3)] = std::nextafter(127.0f, 200.0f);
  return values;
}

bool SameBytes(const PackedMatrix& a, const PackedMatrix& b) { return a.bytes() == b.bytes(); }

TEST(TrainedCodesTest, AChannelHasTheSmallestPowerOfTwoThatHoldsIt) {
  for (const bool transposed : {false, true}) {
    Held held(transposed);
    const std::vector<float> values = Values(held);
    ASSERT_TRUE(held.codes->Write(values.data()).ok());
    const std::vector<float> read = held.Values();
    for (int64_t channel = 0; channel < kOut; ++channel) {
      const float scale = held.codes->matrix().view().channel_scales[channel];
      float largest = 0.0f;
      for (int64_t k = 0; k < kIn; ++k) {
        const size_t i = held.At(channel, k);
        largest = std::max(largest, std::fabs(values[i]));
        EXPECT_LE(std::fabs(read[i] - values[i]), 0.5f * std::max(scale, kLeast));
        EXPECT_EQ(read[i], held.codes->matrix().At(channel, k));
      }
      if (channel == 5) {
        EXPECT_EQ(scale, 0.0f);
      } else if (scale > kLeast) {
        int exponent = 0;
        EXPECT_EQ(std::frexp(scale, &exponent), 0.5f);
        EXPECT_LE(largest, 127.0f * scale);
        EXPECT_GT(largest, 63.5f * scale);
      }
    }
    EXPECT_EQ(held.codes->matrix().view().channel_scales[6], 1.0f);
    EXPECT_EQ(held.codes->matrix().view().channel_scales[7], 2.0f);
  }
}

// Channels shrink, grow and saturate between the rounds.
TEST(TrainedCodesTest, WritingWhatWasReadIsTheSameMatrix) {
  for (const bool transposed : {false, true}) {
    Held held(transposed), again(transposed);
    std::vector<float> values = Values(held);
    for (uint64_t round = 0; round < 40; ++round) {
      held.codes->WriteAtRandom(values.data(), round);
      values = held.Values();
      ASSERT_TRUE(again.codes->Write(values.data()).ok());
      EXPECT_TRUE(SameBytes(again.codes->matrix(), held.codes->matrix())) << round;
      again.codes->WriteAtRandom(values.data(), round + 1000);
      EXPECT_TRUE(SameBytes(again.codes->matrix(), held.codes->matrix())) << round;
      const float factor = round % 3 == 2 ? 3.1f : 0.7f;
      for (float& value : values) value *= factor;
    }
  }
}

// The mean over draws is the value, the draws differ, and no value strays by a whole code.
TEST(TrainedCodesTest, RandomRoundingIsRightInTheMean) {
  constexpr int kDraws = 400;
  Held held(/*transposed=*/false);
  const std::vector<float> values = RandomFloats(kOut * kIn, 8);
  ASSERT_TRUE(held.codes->Write(values.data()).ok());
  const float* const scales = held.codes->matrix().view().channel_scales;
  const std::vector<float> grids(scales, scales + kOut);  // a draw may end with half of it
  std::vector<double> mean(values.size());
  int64_t up = 0;
  for (uint64_t draw = 0; draw < kDraws; ++draw) {
    held.codes->WriteAtRandom(values.data(), draw);
    const std::vector<float> read = held.Values();
    for (size_t i = 0; i < read.size(); ++i) {
      EXPECT_LT(std::fabs(read[i] - values[i]), grids[i / kIn]);
      if (read[i] > values[i]) ++up;
      mean[i] += static_cast<double>(read[i]) / kDraws;
    }
  }
  EXPECT_NEAR(static_cast<double>(up) / (kDraws * static_cast<double>(mean.size())), 0.5, 0.02);
  double bias = 0.0;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double error = (mean[i] - values[i]) / grids[i / kIn];
    EXPECT_LT(std::fabs(error), 5.0 * 0.5 / std::sqrt(kDraws)) << i;
    bias += error / static_cast<double>(mean.size());
  }
  EXPECT_LT(std::fabs(bias), 5.0 * 0.5 / std::sqrt(kDraws * static_cast<double>(mean.size())));
}

// The draw of a weight is that of its channel and input, not of where it is stored.
TEST(TrainedCodesTest, TheStoredOrderDoesNotShow) {
  Held rows(false), columns(true);
  const std::vector<float> values = Values(rows);
  std::vector<float> turned(values.size());
  for (int64_t channel = 0; channel < kOut; ++channel) {
    for (int64_t k = 0; k < kIn; ++k) turned[columns.At(channel, k)] = values[rows.At(channel, k)];
  }
  rows.codes->WriteAtRandom(values.data(), kKey);
  columns.codes->WriteAtRandom(turned.data(), kKey);
  EXPECT_TRUE(SameBytes(rows.codes->matrix(), columns.codes->matrix()));
}

// The products' matrix is the one whose codes were written.
TEST(TrainedCodesTest, ProductsReadTheCodes) {
  Held held(/*transposed=*/false);
  ASSERT_TRUE(held.codes->Write(RandomFloats(kOut * kIn, 1).data()).ok());
  held.codes->WriteAtRandom(RandomFloats(kOut * kIn, 2).data(), kKey);
  std::vector<ChannelCodes> channels(kOut);
  for (int64_t n = 0; n < kOut; ++n) {
    channels[n].scales = {held.codes->matrix().view().channel_scales[n]};
    for (int64_t k = 0; k < kIn; ++k) {
      const float code = held.codes->matrix().At(n, k) / channels[n].scales[0];
      channels[n].codes.push_back(static_cast<uint8_t>(static_cast<int8_t>(code)));
    }
  }
  const PackedMatrix packed = PackedMatrix::FromCodes(channels, kIn, TrainedCodes::kSpec);
  EXPECT_TRUE(SameBytes(packed, held.codes->matrix()));
  const std::vector<float> x = RandomFloats(3 * kIn, 4), dy = RandomFloats(3 * kOut, 5);
  std::vector<float> y[2], dx[2];
  const PackedMatrix* matrices[] = {&packed, &held.codes->matrix()};
  for (int i : {0, 1}) {
    y[i].resize(3 * kOut);
    dx[i].resize(3 * kIn);
    MatmulForward(x.data(), 3, *matrices[i], y[i].data());
    MatmulInputGradient(dy.data(), 3, *matrices[i], dx[i].data());
  }
  EXPECT_EQ(y[0], y[1]);
  EXPECT_EQ(dx[0], dx[1]);
}

TEST(TrainedCodesTest, WhatIsNotFiniteShowsInItsChannel) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {nan, std::numeric_limits<float>::infinity()}) {
    Held held(/*transposed=*/false);
    std::vector<float> values = RandomFloats(kOut * kIn, 1);
    ASSERT_TRUE(held.codes->Write(values.data()).ok());
    const std::vector<float> before = held.Values();
    values[held.At(3, 7)] = bad;
    EXPECT_EQ(held.codes->Write(values.data()).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(held.Values(), before);
    held.codes->WriteAtRandom(values.data(), kKey);
    const std::vector<float> after = held.Values();
    for (int64_t n = 0; n < kOut; ++n) {
      for (int64_t k = 0; k < kIn; ++k) EXPECT_EQ(std::isnan(after[held.At(n, k)]), n == 3);
    }
  }
}

}  // namespace
}  // namespace isthmus
