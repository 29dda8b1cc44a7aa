#include "link/timers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "base/clock.h"

namespace isthmus {
namespace {

TEST(TimersTest, RunsInTheOrderOfTheTimes) {
  Timers timers;
  std::vector<int> order;
  std::atomic<bool> done{false};
  const int64_t now_us = NowUs();
  timers.At(now_us + 3000, [&] {
    order.push_back(3);
    done = true;
  });
  timers.At(now_us + 1000, [&] { order.push_back(1); });
  timers.At(now_us + 2000, [&] { order.push_back(2); });
  timers.At(now_us + 1000, [&] { order.push_back(11); });
  while (!done) std::this_thread::yield();
  EXPECT_EQ(order, (std::vector<int>{1, 11, 2, 3}));
  EXPECT_GE(NowUs(), now_us + 3000);
}

TEST(TimersTest, AClosureMayArmAnother) {
  std::atomic<int> ticks{0};
  std::function<void()> tick;
  Timers timers;
  tick = [&] {
    if (++ticks < 5) timers.At(NowUs() + 100, tick);
  };
  timers.At(0, tick);
  while (ticks < 5) std::this_thread::yield();
}

TEST(TimersTest, WhatIsNotDueIsDropped) {
  auto held = std::make_shared<int>(1);
  {
    Timers timers;
    timers.At(NowUs() + 3'600'000'000, [held] { FAIL() << "an hour early"; });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace isthmus
