#include "compression/frame_estimate.h"

#include <gtest/gtest.h>

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
