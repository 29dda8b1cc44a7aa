#include "link/shaper.h"

#include <gtest/gtest.h>

namespace isthmus {
namespace {

TEST(ShaperTest, UnshapedAddsTheDelayOnly) {
  Shaper shaper(0.0, 700);
  EXPECT_FALSE(shaper.shaped());
  EXPECT_EQ(shaper.Departure(1000, 1 << 20), 1700);
  EXPECT_EQ(shaper.Arrival(1000, 1 << 20), 1000);
}

// 8 Mbit/s is one byte per microsecond.
TEST(ShaperTest, BackToBackFramesShareTheRate) {
  Shaper shaper(8.0, 50);
  EXPECT_EQ(shaper.Departure(1000, 100), 1150);
  EXPECT_EQ(shaper.Departure(1000, 100), 1250);
  EXPECT_EQ(shaper.Departure(1050, 100), 1350);
  EXPECT_EQ(shaper.Departure(5000, 100), 5150);  // idle time is not saved up
}

TEST(ShaperTest, FractionsOfAMicrosecondAreNotLost) {
  Shaper shaper(100.0, 0);  // 12.5 bytes per microsecond
  int64_t last = 0;
  for (int i = 0; i < 1000; ++i) last = shaper.Departure(0, 10);
  EXPECT_EQ(last, 800);
}

TEST(ShaperTest, AFrameThatCameAtTheSameRateIsNotDelayedTwice) {
  Shaper egress(8.0, 0);
  Shaper ingress(8.0, 0);
  for (int i = 0; i < 10; ++i) {
    const int64_t left_us = egress.Departure(1000, 500);
    EXPECT_EQ(ingress.Arrival(left_us, 500), left_us);
  }
}

TEST(ShaperTest, TwoSendersShareOneDownlink) {
  Shaper ingress(8.0, 0);
  // Two peers, each at the full rate, frames of 500 us: the second of each pair waits for the
  // first.
  EXPECT_EQ(ingress.Arrival(1500, 500), 1500);
  EXPECT_EQ(ingress.Arrival(1500, 500), 2000);
  EXPECT_EQ(ingress.Arrival(2000, 500), 2500);
  EXPECT_EQ(ingress.Arrival(2000, 500), 3000);
  EXPECT_EQ(ingress.Arrival(9000, 500), 9000);
}

}  // namespace
}  // namespace isthmus
