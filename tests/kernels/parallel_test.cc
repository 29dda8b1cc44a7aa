#include "kernels/parallel.h"

#include <gtest/gtest.h>

#include <vector>

namespace isthmus {
namespace {

TEST(ThreadPoolTest, EveryIndexIsTakenOnce) {
  ThreadPool pool(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<int> taken(round, 0);
    pool.For(round, [&](int64_t index, int thread) {
      EXPECT_GE(thread, 0);
      EXPECT_LT(thread, pool.threads());
      ++taken[index];
    });
    EXPECT_EQ(taken, std::vector<int>(round, 1));
  }
}

TEST(ThreadPoolTest, OneThreadIsTheCaller) {
  ThreadPool pool(1);
  std::vector<int64_t> order;
  pool.For(3, [&](int64_t index, int thread) {
    EXPECT_EQ(thread, 0);
    order.push_back(index);
  });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2}));
  ParallelFor(nullptr, 2, [&](int64_t index, int) { order.push_back(index); });
  EXPECT_EQ(order.size(), 5u);
}

}  // namespace
}  // namespace isthmus
