// Schedules: pure. (stages, who hosts them, micro-batches) -> the list of actions of every party,
// deadlock-free by construction.
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
  std::vector<std::vector<Action>> of_party;  // index: party
  // Most micro-batches whose activations a stage holds at once (index: stage): the memory and
  // flow-control bound.
  std::vector<uint32_t> max_in_flight;
};

// `name`: a row of schedules.def: "1f1b", "gpipe", "sequential"; kUnimplemented lists them
// otherwise.
absl::StatusOr<Schedule> MakeSchedule(absl::string_view name, const ScheduleShape& shape);
std::vector<std::string> ScheduleNames();

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_SCHEDULE_H_
