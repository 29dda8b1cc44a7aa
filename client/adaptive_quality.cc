#include "client/adaptive_quality.h"

#include <algorithm>

#include "base/status.h"
#include "pipeline/plan.h"
#include "pipeline/simulator.h"

namespace isthmus {

bool AdaptiveQuality::Observe(double step_s, double computing_s) {
  ++steps_;
  if (computing_s <= 0.0) return false;
  ratios_.push_back(step_s / computing_s);
  if (ratios_.size() < static_cast<size_t>(kWindow)) return false;
  std::nth_element(ratios_.begin(), ratios_.begin() + kWindow / 2, ratios_.end());
  const double ratio = ratios_[kWindow / 2];
  ratios_.clear();
  double wanted = offset_db_;
  if (ratio > kLinkBound) wanted -= kStepDb;
  if (ratio < kLinkIdle) wanted += kStepDb;
  wanted = std::clamp(wanted, kFloorDb, kCeilingDb);
  if (wanted == offset_db_) return false;
  offset_db_ = wanted;
  changes_.push_back({steps_, offset_db_, ratio});
  return true;
}

absl::StatusOr<double> ComputingTime(const v1::Plan& plan, uint32_t micro_batches,
                                     const std::map<uint32_t, double>& busy_s) {
  std::map<uint32_t, double> predicted_s;
  for (const v1::StageSpec& stage : plan.stages())
    predicted_s[stage.party()] += stage.predicted_forward_s() + stage.predicted_backward_s();
  std::vector<StageCost> stages;
  for (const v1::StageSpec& stage : plan.stages()) {
    const auto busy = busy_s.find(stage.party());
    const double all_s = predicted_s[stage.party()];
    const double scale =
        busy != busy_s.end() && all_s > 0.0 ? busy->second / (micro_batches * all_s) : 0.0;
    stages.push_back({stage.predicted_forward_s() * scale, stage.predicted_backward_s() * scale});
  }
  const std::vector<EdgeCost> edges(stages.empty() ? 0 : stages.size() - 1);
  const std::vector<HostLink> links(static_cast<size_t>(plan.parties_size()));
  ISTHMUS_ASSIGN_OR_RETURN(const Schedule schedule, ScheduleOf(plan, micro_batches, false));
  return SimulateStep(schedule, stages, edges, links, 0.0).step_s;
}

}  // namespace isthmus
