// codec: auto. Moves the quality of every edge's codec so that sending hides under computing:
// coarser while the links hold the step up, never below the floor, and finer again when they have
// room. Both ends follow at once, because a frame carries its own step.
//
// What computing alone would take is simulated: the plan's schedule with the stage times that the
// parties measured in the step, on links that cost nothing. A step that takes 12 % more waits for
// its links; the two thresholds are apart so that quality does not swing between them.
//
// One thread.
#ifndef ISTHMUS_CLIENT_ADAPTIVE_QUALITY_H_
#define ISTHMUS_CLIENT_ADAPTIVE_QUALITY_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "isthmus/v1/plan.pb.h"

namespace isthmus {

class AdaptiveQuality {
 public:
  // Decibels against the codec's own target. At the floor 20 / 10 dB become 16 / 6 dB; fine-tuning
  // was measured on stories260K only (docs/ecq.md), so larger models may want a higher one.
  static constexpr double kFloorDb = -4.0;
  static constexpr double kCeilingDb = 6.0;
  static constexpr double kStepDb = 1.0;
  static constexpr int kWindow = 4;                             // steps between two decisions
  static constexpr double kLinkBound = 1.12, kLinkIdle = 1.05;  // step time over computing alone

  struct Change {
    int64_t step = 0;  // the last one with the quality before
    double offset_db = 0.0;
    double ratio = 1.0;  // median step time over computing alone that led to it
  };

  explicit AdaptiveQuality(double offset_db = 0.0)
      : offset_db_(std::clamp(offset_db, kFloorDb, kCeilingDb)) {}
  // Goes on after `steps` steps, with what was changed in them.
  AdaptiveQuality(double offset_db, int64_t steps, std::vector<Change> changes)
      : AdaptiveQuality(offset_db) {
    steps_ = steps;
    changes_ = std::move(changes);
  }

  double offset_db() const { return offset_db_; }

  // A step took `step_s`, and would have taken `computing_s` without links. True when the offset
  // changes with the next step.
  bool Observe(double step_s, double computing_s);

  const std::vector<Change>& changes() const { return changes_; }

 private:
  double offset_db_;
  int64_t steps_ = 0;
  std::vector<double> ratios_;
  std::vector<Change> changes_;
};

// Time of a step of `plan` without links, when its parties were busy for `busy_s` (by party, with
// `micro_batches` of them): each party's stages share its time as the plan predicts.
absl::StatusOr<double> ComputingTime(const v1::Plan& plan, uint32_t micro_batches,
                                     const std::map<uint32_t, double>& busy_s);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_ADAPTIVE_QUALITY_H_
