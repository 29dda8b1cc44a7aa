#include "pipeline/schedule.h"

#include <gtest/gtest.h>

#include <set>

namespace isthmus {
namespace {

using Key = std::tuple<int, uint32_t, uint32_t>;

// Lets all parties run their lists; true when everybody reaches the end.
bool RunsToTheEnd(const Schedule& schedule, uint32_t stages) {
  std::set<Key> done;
  std::vector<size_t> next(schedule.of_party.size(), 0);
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t p = 0; p < next.size(); ++p) {
      if (next[p] == schedule.of_party[p].size()) continue;
      const Action a = schedule.of_party[p][next[p]];
      const bool forward = a.work == Work::kForward;
      const bool ready =
          forward ? a.stage == 0 || done.count({0, a.stage - 1, a.micro_batch}) > 0
                  : done.count({0, a.stage, a.micro_batch}) > 0 &&
                        (a.stage + 1 == stages || done.count({1, a.stage + 1, a.micro_batch}) > 0);
      if (!ready) continue;
      done.insert({forward ? 0 : 1, a.stage, a.micro_batch});
      ++next[p];
      moved = true;
    }
  }
  for (size_t p = 0; p < next.size(); ++p)
    if (next[p] != schedule.of_party[p].size()) return false;
  return true;
}

class EverySchedule : public testing::TestWithParam<std::string> {};

TEST_P(EverySchedule, DoesEveryPieceOfWorkOnceInMicroBatchOrderWithoutDeadlock) {
  for (const bool u_shape : {false, true}) {
    for (uint32_t stages = 2; stages <= 6; ++stages) {
      for (const uint32_t m : {1u, 2u, 3u, 8u}) {
        ScheduleShape shape;
        for (uint32_t s = 0; s < stages; ++s)
          shape.party_of_stage.push_back(u_shape && s + 1 == stages ? 0 : s);
        if (shape.party_of_stage[stages - 1] == shape.party_of_stage[stages - 2]) continue;
        shape.micro_batches = m;
        const auto schedule = MakeSchedule(GetParam(), shape);
        ASSERT_TRUE(schedule.ok());
        EXPECT_TRUE(RunsToTheEnd(*schedule, stages));
        std::map<std::pair<int, uint32_t>, uint32_t> seen;
        for (const auto& list : schedule->of_party)
          for (const Action& a : list)
            EXPECT_EQ(a.micro_batch, (seen[{static_cast<int>(a.work), a.stage}]++));
        for (uint32_t s = 0; s < stages; ++s) {
          EXPECT_EQ((seen[{0, s}]), m);
          EXPECT_EQ((seen[{1, s}]), m);
        }
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, EverySchedule, testing::ValuesIn(ScheduleNames()));

TEST(ScheduleTest, BoundsWhatIsInFlight) {
  const ScheduleShape shape{{0, 1, 2, 0}, 16, false};
  EXPECT_EQ(MakeSchedule("sequential", shape)->max_in_flight, (std::vector<uint32_t>{1, 1, 1, 1}));
  EXPECT_EQ(MakeSchedule("gpipe", shape)->max_in_flight[1] <= 16, true);
  const auto one = MakeSchedule("1f1b", shape)->max_in_flight;
  EXPECT_LE(one[0], 7u);  // 2 (4 - 0) - 1
  EXPECT_EQ(one[3], 1u);
}

TEST(ScheduleTest, UnknownNameIsRefusedWithTheList) {
  const auto schedule = MakeSchedule("interleaved", {{0, 1}, 1, false});
  EXPECT_EQ(schedule.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(schedule.status().message().find("gpipe"), absl::string_view::npos);
}

}  // namespace
}  // namespace isthmus
