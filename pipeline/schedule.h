// Schedules: pure. How many micro-batches each stage may have in flight, and what a party does
// next.
//
// A party does whatever is ready and within its depth, forward before backward, the higher stage
// first: what has the longest way to go, over links that are slow, goes first. Backward first loses
// 5 to 15 % of a step to the last micro-batches' way through an idle pipeline. Within a stage
// forward and backward each go in micro-batch order, so results and codec bytes do not depend on
// the timing; how the stages of a party interleave does, and no number depends on that. The depth
// tells one schedule from another.
//
// Sources: GPipe (Huang et al. 2019, arXiv 1811.06965), 1F1B (PipeDream-flush; Narayanan et al.
// 2021, arXiv 2104.04473).
#ifndef ISTHMUS_PIPELINE_SCHEDULE_H_
#define ISTHMUS_PIPELINE_SCHEDULE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace isthmus {

enum class Work : uint8_t { kForward, kBackward };

// One call of StageRunner::Forward or Backward.
struct Action {
  Work work = Work::kForward;
  uint32_t stage = 0;
  uint32_t micro_batch = 0;
  bool operator==(const Action&) const = default;
};

// What a schedule is made for.
struct ScheduleShape {
  std::vector<uint32_t> party_of_stage;  // stage -> party
  uint32_t micro_batches = 1;
  bool forward_only = false;  // evaluation
};

struct Schedule {
  ScheduleShape shape;
  // Most micro-batches that a stage has begun and not finished (index: stage): the bound of memory
  // and of what waits anywhere.
  std::vector<uint32_t> max_in_flight;
};

// `name`: a row of schedules.def: "1f1b", "gpipe", "sequential"; kUnimplemented lists them
// otherwise.
absl::StatusOr<Schedule> MakeSchedule(absl::string_view name, const ScheduleShape& shape);
std::vector<std::string> ScheduleNames();

// One party's way through a pass. One thread.
class PartyProgress {
 public:
  // `schedule` outlives it.
  PartyProgress(const Schedule& schedule, uint32_t party);

  // What may be done now as far as this party knows, most urgent first. Whether the frame it needs
  // has come is the caller's to know; forward of stage 0 and backward of the last stage need none.
  std::vector<Action> Candidates() const;
  void Done(const Action& action);
  // The loss of one more micro-batch came back: in a forward-only pass whose last stage is
  // elsewhere this is all that tells a client how far the others are.
  void LossReturned() { ++losses_; }
  bool finished() const;
  bool NeedsFrame(const Action& action) const {
    return action.work == Work::kForward ? action.stage > 0 : action.stage + 1 < num_stages_;
  }

 private:
  struct Counts {
    uint32_t stage = 0;
    uint32_t forward = 0, backward = 0;  // micro-batches done
  };
  uint32_t InFlight(const Counts& counts) const;

  const Schedule& schedule_;
  const uint32_t num_stages_;
  std::vector<Counts> stages_;  // of this party, highest first
  uint32_t losses_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_SCHEDULE_H_
