#include "compression/gradient_variance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "compression/synthetic_source.h"

namespace isthmus {
namespace {

constexpr int64_t kWidth = 32, kTokens = 48;
constexpr uint64_t kSteps = 12, kMicroBatches = 4;

CapturedEdge Captured(Direction direction, uint64_t seed) {
  CapturedEdge edge;
  edge.width = kWidth;
  edge.direction = direction;
  for (uint64_t step = 0; step < kSteps; ++step) {
    for (uint32_t mb = 0; mb < kMicroBatches; ++mb) {
      CapturedFrame frame;
      frame.step = step;
      frame.micro_batch = mb;
      frame.samples = {{step * kMicroBatches + mb, 0, kTokens}};
      frame.x_TD = *SyntheticValues("gaussian", kTokens, kWidth, seed + step * kMicroBatches + mb);
      edge.frames.push_back(std::move(frame));
    }
  }
  return edge;
}

// Independent tokens: the noise of a token adds as its gradient does, so the share is that of the
// noise in the gradients themselves.
TEST(AddedVariance, IsTheNoiseOfIndependentTokens) {
  const CapturedEdge x = Captured(Direction::kForward, 1), g = Captured(Direction::kBackward, 1000);
  for (const double db : {0.0, 6.0, 14.0}) {
    const auto share = AddedVarianceShare("ecq(db=" + std::to_string(db) + ")", g, x);
    ASSERT_TRUE(share.ok()) << share.status();
    EXPECT_NEAR(*share, std::pow(10.0, -db / 10), 0.1 * std::pow(10.0, -db / 10)) << db;
  }
  EXPECT_EQ(*AddedVarianceShare("none", g, x), 0.0);
  // Tokens that are left out add more than their bits say.
  EXPECT_GT(*AddedVarianceShare("ecq(db=6,keep=0.3)", g, x), 1.0);
}

TEST(AddedVariance, NeedsTwoMicroBatchesAndTheirActivations) {
  CapturedEdge x = Captured(Direction::kForward, 1), g = Captured(Direction::kBackward, 1000);
  CapturedEdge single = g;
  single.frames.resize(1);
  EXPECT_THAT(std::string(AddedVarianceShare("int8", single, x).status().message()),
              testing::HasSubstr("two micro-batches"));
  x.frames.pop_back();
  EXPECT_THAT(std::string(AddedVarianceShare("int8", g, x).status().message()),
              testing::HasSubstr("expected the activations of step 11"));
}

}  // namespace
}  // namespace isthmus
