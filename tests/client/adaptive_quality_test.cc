#include "client/adaptive_quality.h"

#include <gtest/gtest.h>

namespace isthmus {
namespace {

// One decision: a window of steps at one ratio.
bool Window(AdaptiveQuality* quality, double ratio) {
  bool changed = false;
  for (int i = 0; i < AdaptiveQuality::kWindow; ++i)
    changed = quality->Observe(ratio * 0.2, 0.2) || changed;
  return changed;
}

TEST(AdaptiveQualityTest, GetsCoarserWhileLinksHoldTheStepUpButNotBelowTheFloor) {
  AdaptiveQuality quality;
  double last = 0.0;
  while (Window(&quality, 2.0)) {
    EXPECT_EQ(quality.offset_db(), last - AdaptiveQuality::kStepDb);
    last = quality.offset_db();
  }
  EXPECT_EQ(quality.offset_db(), AdaptiveQuality::kFloorDb);
  EXPECT_EQ(quality.changes().size(), 4u);
  EXPECT_EQ(quality.changes().front().step, AdaptiveQuality::kWindow);
}

TEST(AdaptiveQualityTest, GetsFinerWhereLinksHaveRoom) {
  AdaptiveQuality quality(-3.0);
  EXPECT_TRUE(Window(&quality, 1.0));
  EXPECT_EQ(quality.offset_db(), -2.0);
  for (int i = 0; i < 20; ++i) Window(&quality, 1.01);
  EXPECT_EQ(quality.offset_db(), AdaptiveQuality::kCeilingDb);
}

TEST(AdaptiveQualityTest, GoesOnAfterTheStepsOfAnEarlierRun) {
  AdaptiveQuality quality(-1.0, 10, {{4, -1.0, 2.0}});
  EXPECT_TRUE(Window(&quality, 2.0));
  EXPECT_EQ(quality.offset_db(), -2.0);
  ASSERT_EQ(quality.changes().size(), 2u);
  EXPECT_EQ(quality.changes()[0].step, 4);
  EXPECT_EQ(quality.changes()[1].step, 10 + AdaptiveQuality::kWindow);
}

TEST(AdaptiveQualityTest, StaysBetweenTheThresholds) {
  AdaptiveQuality quality;
  EXPECT_FALSE(Window(&quality, 0.5 * (AdaptiveQuality::kLinkBound + AdaptiveQuality::kLinkIdle)));
  EXPECT_EQ(quality.offset_db(), 0.0);
}

TEST(AdaptiveQualityTest, OneSlowStepDecidesNothing) {
  AdaptiveQuality quality;
  EXPECT_FALSE(quality.Observe(10.0, 0.2));
  for (int i = 1; i < AdaptiveQuality::kWindow; ++i) EXPECT_FALSE(quality.Observe(0.216, 0.2));
}

TEST(ComputingTimeTest, IsTheStepOnLinksThatCostNothing) {
  v1::Plan plan;
  plan.set_schedule("sequential");
  plan.set_micro_batches(2);
  for (const uint32_t party : {0u, 1u, 0u}) {
    v1::StageSpec* stage = plan.add_stages();
    stage->set_party(party);
    stage->set_predicted_forward_s(party == 0 ? 0.01 : 0.02);
    stage->set_predicted_backward_s(party == 0 ? 0.03 : 0.04);
  }
  for (int i = 0; i < 2; ++i) plan.add_parties();
  // Twice as slow as predicted: 2 micro-batches, one after the other, of 0.08 s + 0.06 s.
  const auto seconds = ComputingTime(plan, 2, {{0, 2 * 2 * 0.08}, {1, 2 * 2 * 0.06}});
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_NEAR(*seconds, 2 * 2 * 0.14, 1e-9);
}

}  // namespace
}  // namespace isthmus
