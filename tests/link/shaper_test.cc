#include "link/shaper.h"

#include <gtest/gtest.h>

#include <algorithm>

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

// A large frame is on the line from 1000 to 2000; what comes meanwhile costs it only its own bytes.
TEST(ShaperTest, ASmallFrameInTheMiddleOfALargeOneDelaysItByItsOwnLength) {
  Shaper ingress(8.0, 0);
  EXPECT_EQ(ingress.Arrival(1300, 10), 1300);
  EXPECT_EQ(ingress.Arrival(1800, 10), 1800);
  EXPECT_EQ(ingress.Arrival(2000, 1000), 2020);
  EXPECT_EQ(ingress.Arrival(2010, 10), 2030);
}

// Whatever the order and the sizes, nothing is through before it came, and no more bytes are
// through by any time than the line carries.
TEST(ShaperTest, TheDownlinkNeverCarriesMoreThanItsRate) {
  uint32_t random = 1;
  const auto below = [&random](uint32_t n) {
    random = random * 1664525u + 1013904223u;
    return static_cast<int64_t>((random >> 8) % n);
  };
  Shaper ingress(8.0, 0);
  int64_t now = 5000, bytes = 0, first = 5000, last_due = 0;
  for (int i = 0; i < 2000; ++i) {
    const int64_t size = 1 + below(i % 3 == 0 ? 4000 : 40);
    now += below(900);
    const int64_t due = ingress.Arrival(now, size);
    EXPECT_GE(due, now);
    first = std::min(first, now - size);
    bytes += size;
    last_due = std::max(last_due, due);
    EXPECT_GE(last_due - first, bytes) << "after frame " << i;
    if (last_due < now - 8000) {
      first = now;
      bytes = 0;
    }
  }
}

}  // namespace
}  // namespace isthmus
