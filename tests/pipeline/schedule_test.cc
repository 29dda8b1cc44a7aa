#include "pipeline/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/rng.h"

namespace isthmus {
namespace {

// All parties of a pass, at the mercy of a random number: which party acts next, and which frames
// have come.
class Playground {
 public:
  Playground(const Schedule& schedule, uint64_t seed) : schedule_(schedule), rng_(seed) {
    const auto& parties = schedule.shape.party_of_stage;
    const uint32_t n = *std::max_element(parties.begin(), parties.end()) + 1;
    for (uint32_t p = 0; p < n; ++p) progress_.emplace_back(schedule, p);
  }

  // False when everybody waits for somebody.
  bool Run() {
    while (!std::all_of(progress_.begin(), progress_.end(),
                        [](const PartyProgress& p) { return p.finished(); })) {
      std::vector<uint32_t> able;
      for (uint32_t p = 0; p < progress_.size(); ++p)
        if (Next(p) != nullptr) able.push_back(p);
      if (able.empty()) return false;
      const uint32_t p = able[rng_.NextBelow(able.size())];
      const Action action = *Next(p);
      log_.push_back(action);
      progress_[p].Done(action);
      Send(action);
    }
    return true;
  }
  const std::vector<Action>& log() const { return log_; }

 private:
  using Key = std::tuple<Work, uint32_t, uint32_t>;

  const Action* Next(uint32_t party) {
    candidates_ = progress_[party].Candidates();
    for (const Action& a : candidates_)
      if (!progress_[party].NeedsFrame(a) || frames_.count({a.work, a.stage, a.micro_batch}) > 0)
        return &a;
    return nullptr;
  }
  void Send(const Action& a) {
    const uint32_t stages = static_cast<uint32_t>(schedule_.shape.party_of_stage.size());
    if (a.work == Work::kForward && a.stage + 1 < stages)
      frames_.insert({Work::kForward, a.stage + 1, a.micro_batch});
    if (a.work == Work::kForward && a.stage + 1 == stages &&
        schedule_.shape.party_of_stage.back() != 0)
      progress_[0].LossReturned();
    if (a.work == Work::kBackward && a.stage > 0)
      frames_.insert({Work::kBackward, a.stage - 1, a.micro_batch});
  }

  const Schedule& schedule_;
  CounterRng rng_;
  std::vector<PartyProgress> progress_;
  std::vector<Action> candidates_, log_;
  std::set<Key> frames_;
};

// Every piece of work once, in micro-batch order within a stage and direction, and never more in
// flight than the schedule says.
void CheckLog(const Schedule& schedule, const std::vector<Action>& log) {
  const uint32_t stages = static_cast<uint32_t>(schedule.shape.party_of_stage.size()),
                 m = schedule.shape.micro_batches;
  std::map<std::pair<Work, uint32_t>, uint32_t> seen;
  for (const Action& a : log) {
    EXPECT_EQ(a.micro_batch, (seen[{a.work, a.stage}]++));
    if (!schedule.shape.forward_only) {
      const uint32_t in_flight = seen[{Work::kForward, a.stage}] - seen[{Work::kBackward, a.stage}];
      EXPECT_LE(in_flight, schedule.max_in_flight[a.stage]);
    } else {
      EXPECT_LE((seen[{Work::kForward, 0}] - seen[{Work::kForward, stages - 1}]),
                schedule.max_in_flight[0]);
    }
  }
  for (uint32_t s = 0; s < stages; ++s) {
    EXPECT_EQ((seen[{Work::kForward, s}]), m);
    EXPECT_EQ((seen[{Work::kBackward, s}]), schedule.shape.forward_only ? 0 : m);
  }
}

class EverySchedule : public testing::TestWithParam<std::string> {};

TEST_P(EverySchedule, EndsInAnyTimingAndKeepsItsBounds) {
  for (const bool forward_only : {false, true}) {
    for (const bool u_shape : {false, true}) {
      for (uint32_t stages = u_shape ? 3 : 2; stages <= 6; ++stages) {
        for (const uint32_t m : {1u, 2u, 3u, 8u, 40u}) {
          ScheduleShape shape;
          for (uint32_t s = 0; s < stages; ++s)
            shape.party_of_stage.push_back(u_shape && s + 1 == stages ? 0 : s);
          shape.micro_batches = m;
          shape.forward_only = forward_only;
          const auto schedule = MakeSchedule(GetParam(), shape);
          ASSERT_TRUE(schedule.ok());
          for (uint64_t seed = 0; seed < 5; ++seed) {
            Playground playground(*schedule, seed);
            ASSERT_TRUE(playground.Run()) << stages << " stages, " << m << " micro-batches";
            CheckLog(*schedule, playground.log());
          }
        }
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, EverySchedule, testing::ValuesIn(ScheduleNames()));

TEST(ScheduleTest, DepthsAreThoseOfTheTable) {
  const ScheduleShape shape{{0, 1, 2, 0}, 16, false};
  EXPECT_EQ(MakeSchedule("sequential", shape)->max_in_flight, (std::vector<uint32_t>{1, 1, 1, 1}));
  EXPECT_EQ(MakeSchedule("gpipe", shape)->max_in_flight, (std::vector<uint32_t>{16, 16, 16, 16}));
  EXPECT_EQ(MakeSchedule("1f1b", shape)->max_in_flight, (std::vector<uint32_t>{7, 5, 3, 1}));
}

TEST(ScheduleTest, ForwardGoesFirstAndTheHigherStageBeforeTheLower) {
  const auto schedule = MakeSchedule("gpipe", {{0, 1, 0}, 4, false});
  PartyProgress client(*schedule, 0);
  client.Done({Work::kForward, 0, 0});
  client.Done({Work::kForward, 2, 0});
  const std::vector<Action> want = {{Work::kForward, 2, 1},
                                    {Work::kForward, 0, 1},
                                    {Work::kBackward, 2, 0},
                                    {Work::kBackward, 0, 0}};
  EXPECT_EQ(client.Candidates(), want);
}

TEST(ScheduleTest, AFullStageGoesBackwardFirst) {
  const auto schedule = MakeSchedule("1f1b", {{0, 1, 0}, 4, false});
  PartyProgress client(*schedule, 0);
  client.Done({Work::kForward, 0, 0});
  client.Done({Work::kForward, 2, 0});
  const std::vector<Action> want = {
      {Work::kForward, 0, 1}, {Work::kBackward, 2, 0}, {Work::kBackward, 0, 0}};
  EXPECT_EQ(client.Candidates(), want);  // stage 2 holds one already: its depth is 1
}

TEST(ScheduleTest, UnknownNameIsRefusedWithTheList) {
  const auto schedule = MakeSchedule("interleaved", {{0, 1}, 1, false});
  EXPECT_EQ(schedule.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(schedule.status().message().find("gpipe"), absl::string_view::npos);
}

}  // namespace
}  // namespace isthmus
