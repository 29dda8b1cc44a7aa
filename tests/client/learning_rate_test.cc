#include "client/learning_rate.h"

#include <cmath>

#include "gtest/gtest.h"

namespace isthmus {
namespace {

// Of step `t` of 20, at 0.4 after warm-up.
double Rate(RateSchedule schedule, int64_t warmup, int64_t t) {
  Job::Train train;
  train.optimizer.lr = 0.4;
  train.schedule.name = schedule;
  train.schedule.warmup_steps = warmup;
  return LearningRate(train, t, 20);
}

constexpr RateSchedule kAll[] = {RateSchedule::kConstant, RateSchedule::kLinear,
                                 RateSchedule::kCosine};

TEST(LearningRateTest, WarmUpRisesToTheFullRate) {
  for (const RateSchedule schedule : kAll) {
    for (int64_t t = 1; t <= 4; ++t)
      EXPECT_DOUBLE_EQ(Rate(schedule, 4, t), 0.1 * static_cast<double>(t));
  }
}

TEST(LearningRateTest, ConstantStays) {
  for (const int64_t t : {1, 10, 20}) EXPECT_EQ(Rate(RateSchedule::kConstant, 0, t), 0.4);
  EXPECT_EQ(Rate(RateSchedule::kConstant, 4, 5), 0.4);
}

TEST(LearningRateTest, LinearFallsInEqualStepsAndWouldBeZeroAfterTheLast) {
  EXPECT_DOUBLE_EQ(Rate(RateSchedule::kLinear, 0, 1), 0.4 * 20 / 21);
  EXPECT_DOUBLE_EQ(Rate(RateSchedule::kLinear, 0, 20), 0.4 / 21);
  for (int64_t t = 4; t <= 20; ++t)
    EXPECT_DOUBLE_EQ(Rate(RateSchedule::kLinear, 4, t), 0.4 * static_cast<double>(21 - t) / 17);
}

TEST(LearningRateTest, CosineFallsToZeroAtTheLastStep) {
  EXPECT_DOUBLE_EQ(Rate(RateSchedule::kCosine, 0, 10), 0.2);
  EXPECT_NEAR(Rate(RateSchedule::kCosine, 0, 5), 0.2 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_DOUBLE_EQ(Rate(RateSchedule::kCosine, 4, 12), 0.2);
  EXPECT_NEAR(Rate(RateSchedule::kCosine, 4, 8), 0.2 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_NEAR(Rate(RateSchedule::kCosine, 4, 20), 0.0, 1e-15);
}

TEST(LearningRateTest, AWarmUpAsLongAsTheRunOrLongerNeverLeavesIt) {
  for (const RateSchedule schedule : kAll) {
    EXPECT_DOUBLE_EQ(Rate(schedule, 20, 20), 0.4);
    EXPECT_DOUBLE_EQ(Rate(schedule, 40, 20), 0.2);
    EXPECT_DOUBLE_EQ(Rate(schedule, 19, 19), 0.4);
  }
}

}  // namespace
}  // namespace isthmus
