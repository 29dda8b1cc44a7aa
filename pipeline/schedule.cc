#include "pipeline/schedule.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"

namespace isthmus {
namespace {

// An edge is a pipeline stage too: while one micro-batch computes, its neighbours are on the wire.
// So the classic depth S - s becomes 2 (S - s) - 1, counting the edges above; with fewer in flight
// a slow link idles while a stage computes.
uint32_t Depth1F1B(uint32_t stage, uint32_t stages, uint32_t micro_batches) {
  return std::min(micro_batches, 2 * (stages - stage) - 1);
}
uint32_t DepthGPipe(uint32_t, uint32_t, uint32_t micro_batches) { return micro_batches; }
uint32_t DepthSequential(uint32_t, uint32_t, uint32_t) { return 1; }

using Depth = uint32_t (*)(uint32_t, uint32_t, uint32_t);
struct Row {
  const char* name;
  Depth depth;
};
constexpr Row kRows[] = {
#define ISTHMUS_SCHEDULE(name, depth) {name, depth},
#include "pipeline/schedules.def"
#undef ISTHMUS_SCHEDULE
};

// Lets every stage run in unit time steps and writes down what each party did. A list of things
// that once happened in this order cannot deadlock when it happens again.
class Rehearsal {
 public:
  Rehearsal(const Row& row, const ScheduleShape& shape)
      : row_(row), shape_(shape), stages_(static_cast<uint32_t>(shape.party_of_stage.size())) {
    forwards_.resize(stages_);
    backwards_.resize(stages_);
  }

  Schedule Run() {
    Schedule schedule;
    const uint32_t parties =
        *std::max_element(shape_.party_of_stage.begin(), shape_.party_of_stage.end()) + 1;
    schedule.of_party.resize(parties);
    schedule.max_in_flight.assign(stages_, 0);
    const size_t wanted = size_t{stages_} * shape_.micro_batches * (shape_.forward_only ? 1 : 2);
    for (size_t done = 0; done < wanted;) {
      const size_t before = done;
      std::vector<Action> now;
      for (uint32_t party = 0; party < parties; ++party) {
        if (Action action; Pick(party, &action)) now.push_back(action);
      }
      for (const Action& action :
           now) {  // together: what one finishes now another can use in the next time step
        Finish(action);
        schedule.of_party[shape_.party_of_stage[action.stage]].push_back(action);
        uint32_t& most = schedule.max_in_flight[action.stage];
        most = std::max(
            most, shape_.forward_only ? 1 : forwards_[action.stage] - backwards_[action.stage]);
        ++done;
      }
      ISTHMUS_CHECK(done > before);
    }
    return schedule;
  }

 private:
  // Backward before forward, the higher stage first: what frees memory and feeds the longest rest
  // goes first.
  bool Pick(uint32_t party, Action* action) const {
    for (const Work work : {Work::kBackward, Work::kForward}) {
      for (uint32_t s = stages_; s-- > 0;) {
        if (shape_.party_of_stage[s] != party) continue;
        if (work == Work::kBackward ? CanBackward(s) : CanForward(s)) {
          *action = {work, s, work == Work::kBackward ? backwards_[s] : forwards_[s]};
          return true;
        }
      }
    }
    return false;
  }
  bool CanForward(uint32_t s) const {
    if (forwards_[s] == shape_.micro_batches) return false;
    if (s > 0 && forwards_[s - 1] <= forwards_[s]) return false;
    return shape_.forward_only ||
           forwards_[s] - backwards_[s] < row_.depth(s, stages_, shape_.micro_batches);
  }
  bool CanBackward(uint32_t s) const {
    if (shape_.forward_only || backwards_[s] == shape_.micro_batches) return false;
    if (s + 1 == stages_) return forwards_[s] > backwards_[s];
    return backwards_[s + 1] > backwards_[s];
  }
  void Finish(const Action& action) {
    ++(action.work == Work::kForward ? forwards_ : backwards_)[action.stage];
  }

  const Row& row_;
  const ScheduleShape& shape_;
  const uint32_t stages_;
  std::vector<uint32_t> forwards_, backwards_;  // finished, per stage
};

}  // namespace

std::vector<std::string> ScheduleNames() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.push_back(row.name);
  return names;
}

absl::StatusOr<Schedule> MakeSchedule(absl::string_view name, const ScheduleShape& shape) {
  ISTHMUS_CHECK(!shape.party_of_stage.empty() && shape.micro_batches > 0);
  for (const Row& row : kRows) {
    if (name == row.name) return Rehearsal(row, shape).Run();
  }
  return Unimplemented("pipeline.schedule: expected one of ", absl::StrJoin(ScheduleNames(), ", "),
                       ", got ", name);
}

}  // namespace isthmus
