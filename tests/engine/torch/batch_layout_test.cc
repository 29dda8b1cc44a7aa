#include "engine/torch/batch_layout.h"

#include <cmath>
#include <numbers>

#include "gtest/gtest.h"
#include "tests/engine/chain.h"

namespace isthmus {
namespace {

float At(const at::Tensor& t, int64_t i, int64_t j, int64_t k) {
  return t.select(0, i).select(0, j).select(0, k).item<float>();
}

TEST(RotaryTableTest, AnglesOfPlainRope) {
  const ModelConfig config = TinyConfig("llama");  // head_dim 4: frequencies 1 and 1 / 100
  RotaryTable table(config, at::kCPU);
  const at::Tensor cos = table.Cos(5, 2), sin = table.Sin(5, 2);
  EXPECT_FLOAT_EQ(At(cos, 0, 0, 0), std::cos(5.0));
  EXPECT_FLOAT_EQ(At(cos, 1, 0, 3), std::cos(0.06));
  EXPECT_FLOAT_EQ(At(sin, 1, 0, 0), -std::sin(6.0));
  EXPECT_FLOAT_EQ(At(sin, 1, 0, 3), std::sin(0.06));
}

TEST(RotaryTableTest, GrowsWithoutChangingWhatItSaid) {
  RotaryTable table(TinyConfig("llama"), at::kCPU);
  const at::Tensor before = table.Cos(0, 4).clone();
  table.Cos(0, 1000);
  EXPECT_TRUE(table.Cos(0, 4).equal(before));
}

TEST(RotaryTableTest, LinearScalingStretchesPositions) {
  RotaryTable plain(TinyConfig("llama"), at::kCPU);
  RotaryTable scaled(
      TinyConfig("llama", R"("rope_scaling": {"rope_type": "linear", "factor": 4.0})"), at::kCPU);
  EXPECT_TRUE(scaled.Cos(8, 1).allclose(plain.Cos(2, 1), 1e-6, 1e-6));
  EXPECT_TRUE(scaled.Sin(20, 1).allclose(plain.Sin(5, 1), 1e-6, 1e-6));
}

// With theta 10000 and head_dim 4 the waves are 2 pi and 200 pi long. Against an original context
// of 400 positions they pass 63.7 and 0.637 times: the first is kept (above high_freq_factor 4),
// the second slowed by the factor (below 1).
TEST(RotaryTableTest, Llama3ScalingSlowsLongWaves) {
  RotaryTable table(TinyConfig("llama", R"("rope_scaling": {"rope_type": "llama3", "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 400})"),
                    at::kCPU);
  EXPECT_FLOAT_EQ(At(table.Cos(7, 1), 0, 0, 0), std::cos(7.0));
  EXPECT_FLOAT_EQ(At(table.Sin(7, 1), 0, 0, 3), std::sin(7.0 * 0.01 / 8.0));
}

// The second wave passes 2.5 times in 500 pi positions: half-way between the factors 1 and 4.
TEST(RotaryTableTest, Llama3ScalingBlendsInBetween) {
  ModelConfig config = TinyConfig("llama");
  config.rope_scaling.kind = RopeScaling::Kind::kLlama3;
  config.rope_scaling.factor = 8.0;
  config.rope_scaling.original_max_position = 1571;
  RotaryTable table(config, at::kCPU);
  const double share = (1571 * 0.01 / (2 * std::numbers::pi) - 1.0) / 3.0;
  EXPECT_NEAR(share, 0.5, 1e-3);
  const double frequency = (1 - share) * 0.01 / 8.0 + share * 0.01;
  EXPECT_FLOAT_EQ(At(table.Sin(7, 1), 0, 0, 3), std::sin(7.0 * frequency));
}

TEST(AttentionMaskTest, IsCausalForEveryGroup) {
  const ModelConfig config = TinyConfig("llama");
  const at::Tensor mask = AttentionMask(config, 2, 3, at::kCPU);
  ASSERT_EQ(mask.sizes(), (std::vector<int64_t>{1, 6, 5}));
  for (int64_t row = 0; row < 6; ++row) {
    for (int64_t key = 0; key < 5; ++key) {
      EXPECT_EQ(At(mask, 0, row, key) == 0.0f, key <= 2 + row % 3) << row << " " << key;
    }
  }
}

TEST(AttentionMaskTest, SlidingWindowCountsTheOwnPosition) {
  ModelConfig config = TinyConfig("llama");
  config.sliding_window = 2;
  const at::Tensor mask = AttentionMask(config, 0, 4, at::kCPU);
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t key = 0; key < 4; ++key) {
      const bool seen = key <= row && key > row - 2;
      EXPECT_EQ(At(mask, 0, row, key) == 0.0f, seen) << row << " " << key;
    }
  }
}

TEST(BatchLayoutsTest, RaggedRowsStandAtTheLeft) {
  BatchLayouts layouts(TinyConfig("llama"), at::kCPU);
  const auto layout = layouts.Get({2, 3});
  EXPECT_TRUE(layout->ragged);
  EXPECT_EQ(layout->tokens, 5);
  ASSERT_EQ(layout->rows.numel(), 5);
  const int64_t* rows = layout->rows.data_ptr<int64_t>();
  EXPECT_EQ(std::vector<int64_t>(rows, rows + 5), (std::vector<int64_t>{0, 1, 3, 4, 5}));
  EXPECT_FALSE(layouts.Get({3, 3})->ragged);
}

}  // namespace
}  // namespace isthmus
