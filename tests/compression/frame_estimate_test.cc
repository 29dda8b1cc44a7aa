#include "compression/frame_estimate.h"

#include <gtest/gtest.h>

#include <vector>

#include "compression/synthetic_source.h"

namespace isthmus {
namespace {

FrameEstimate Estimate(const char* spec, Direction direction = Direction::kForward) {
  EdgeShape shape;
  shape.width = 256;
  shape.direction = direction;
  shape.max_sample_tokens = 100;
  shape.total_steps = 50;
  const auto codec = Codec::Parse(spec);
  const auto estimate = EstimateFrame(**codec, shape);
  EXPECT_TRUE(estimate.ok()) << spec << ": " << estimate.status();
  return estimate.value_or(FrameEstimate{});
}

TEST(FrameEstimate, FixedWidthsTakeTheirWidthAndScales) {
  EXPECT_DOUBLE_EQ(Estimate("none").first_bits, 32.0);
  EXPECT_DOUBLE_EQ(Estimate("fp16").later_bits, 16.0);
  EXPECT_NEAR(Estimate("int8").first_bits, 8.0 + 16.0 / 256, 0.02);
  EXPECT_NEAR(Estimate("int4").later_bits, 4.0 + 32.0 / 64, 0.02);
}

TEST(FrameEstimate, ADeltaIsNarrowerThanAFirstVisit) {
  const FrameEstimate estimate = Estimate("aqsgd(bits=4)");
  EXPECT_NEAR(estimate.first_bits, 8.0, 0.5);
  EXPECT_NEAR(estimate.later_bits, 4.0, 0.5);
}

TEST(FrameEstimate, WhatIsRememberedNeedNotBeSentAgain) {
  const FrameEstimate estimate = Estimate("ecq(db=20)");
  EXPECT_GT(estimate.first_bits, 3.0);  // R(D) of 20 dB is 3.32 bits
  EXPECT_LT(estimate.first_bits, 4.5);
  EXPECT_LT(estimate.later_bits, 0.5 * estimate.first_bits);
}

// Against a run: gradients that say nothing leave the ramp alone.
TEST(FrameEstimate, WidthsThatFallCountWithTheirMeanOverTheRun) {
  constexpr int64_t kWidth = 64, kTokens = 32, kSteps = 60;
  for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
    EdgeShape shape;
    shape.width = kWidth;
    shape.direction = direction;
    shape.max_sample_tokens = kTokens;
    shape.total_steps = kSteps;
    const auto codec = *Codec::Parse("amaq(min=2,max=8,target=4)");
    const auto encoder = *codec->MakeEncoder(shape);
    const SampleRows sample{0, 0, kTokens};
    Bytes all;
    for (uint64_t step = 0; step < kSteps; ++step) {
      FrameContext context;
      context.step = step;
      context.samples = {&sample, 1};
      const auto x = *SyntheticValues("gaussian", kTokens, kWidth, step);
      ASSERT_TRUE(encoder->Encode(x, context, &all).ok());
      const std::vector<float> zeros(x.size());
      ASSERT_TRUE(encoder->ObserveGradient(zeros, context).ok());
      ASSERT_TRUE(encoder->CommitStep(step).ok());
    }
    const double bits = 8.0 * static_cast<double>(all.size()) / (kSteps * kTokens * kWidth);
    const auto estimate = *EstimateFrame(*codec, shape);
    EXPECT_NEAR(estimate.first_bits, bits, 0.03 * bits) << Name(direction);
    EXPECT_NEAR(estimate.later_bits, bits, 0.03 * bits) << Name(direction);
  }
}

TEST(FrameEstimate, AStoreInAFileNeedsNoFolder) {
  const auto estimate_of = [](const char* spec) {
    EdgeShape shape;
    shape.width = 64;
    shape.max_sample_tokens = 16;
    return EstimateFrame(**Codec::Parse(spec), shape);
  };
  const auto file = estimate_of("aqsgd(bits=4,store=mmap)");
  const auto memory = estimate_of("aqsgd(bits=4,store=ram)");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->first_bits, memory->first_bits);
  EXPECT_EQ(file->later_bits, memory->later_bits);
  EXPECT_LT(file->later_bits, file->first_bits);
}

TEST(FrameEstimate, AWrongDirectionIsSaid) {
  const auto codec = Codec::Parse("aqsgd(bits=4)");
  EdgeShape shape;
  shape.width = 64;
  shape.direction = Direction::kBackward;
  EXPECT_EQ(EstimateFrame(**codec, shape).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace isthmus
