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

// Evaluation keeps nothing for a way back: its bound is only what waits in queues, whatever the
// training schedule.
constexpr uint32_t kForwardOnlyDepth = 16;

}  // namespace

std::vector<std::string> ScheduleNames() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.push_back(row.name);
  return names;
}

absl::StatusOr<Schedule> MakeSchedule(absl::string_view name, const ScheduleShape& shape) {
  ISTHMUS_CHECK(!shape.party_of_stage.empty() && shape.micro_batches > 0);
  const auto stages = static_cast<uint32_t>(shape.party_of_stage.size());
  for (const Row& row : kRows) {
    if (name != row.name) continue;
    Schedule schedule{shape, {}};
    for (uint32_t s = 0; s < stages; ++s) {
      const uint32_t depth = row.depth(s, stages, shape.micro_batches);
      schedule.max_in_flight.push_back(
          shape.forward_only ? std::min(shape.micro_batches, kForwardOnlyDepth) : depth);
    }
    return schedule;
  }
  return Unimplemented("pipeline.schedule: expected one of ", absl::StrJoin(ScheduleNames(), ", "),
                       ", got ", name);
}

PartyProgress::PartyProgress(const Schedule& schedule, uint32_t party)
    : schedule_(schedule),
      num_stages_(static_cast<uint32_t>(schedule.shape.party_of_stage.size())) {
  for (uint32_t s = num_stages_; s-- > 0;)
    if (schedule.shape.party_of_stage[s] == party) stages_.push_back({s, 0, 0});
}

uint32_t PartyProgress::InFlight(const Counts& counts) const {
  if (!schedule_.shape.forward_only) return counts.forward - counts.backward;
  if (counts.stage > 0) return 0;  // bounded by what stage 0 sends
  const bool own_head = stages_.front().stage + 1 == num_stages_;
  return counts.forward - (own_head ? stages_.front().forward : losses_);
}

std::vector<Action> PartyProgress::Candidates() const {
  const uint32_t m = schedule_.shape.micro_batches;
  std::vector<Action> candidates;
  for (const Counts& c : stages_)
    if (c.forward < m && InFlight(c) < schedule_.max_in_flight[c.stage])
      candidates.push_back({Work::kForward, c.stage, c.forward});
  if (!schedule_.shape.forward_only)
    for (const Counts& c : stages_)
      if (c.backward < c.forward) candidates.push_back({Work::kBackward, c.stage, c.backward});
  return candidates;
}

void PartyProgress::Done(const Action& action) {
  for (Counts& c : stages_) {
    if (c.stage != action.stage) continue;
    uint32_t& count = action.work == Work::kForward ? c.forward : c.backward;
    ISTHMUS_CHECK(count == action.micro_batch);
    ++count;
  }
}

bool PartyProgress::finished() const {
  const uint32_t m = schedule_.shape.micro_batches;
  return std::all_of(stages_.begin(), stages_.end(), [&](const Counts& c) {
    return c.forward == m && (schedule_.shape.forward_only || c.backward == m);
  });
}

}  // namespace isthmus
