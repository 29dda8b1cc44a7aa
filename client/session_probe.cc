// Steps of ClientSession without gradients.
#include <cmath>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "client/session.h"

namespace isthmus {

// The loss with every party's trained values moved by scale * z; they are back when it returns.
absl::StatusOr<MicroBatchLoss> ClientSession::LossAt(const Probe& probe, double scale,
                                                     uint32_t micro_batches, BatchSource* source) {
  v1::Packet begin;
  begin.mutable_probe_begin()->set_step(probe.step);
  begin.mutable_probe_begin()->set_micro_batches(micro_batches);
  begin.mutable_probe_begin()->set_probe(probe.index);
  begin.mutable_probe_begin()->set_scale(scale);
  ISTHMUS_RETURN_IF_ERROR(SendAll(begin));
  ISTHMUS_RETURN_IF_ERROR(group_->Move(probe, scale));
  std::vector<MicroBatchLoss> losses;
  const PassSpec pass = {probe.step, micro_batches, EdgeMode::kProbe, 1.0};
  ISTHMUS_RETURN_IF_ERROR(runner_->RunPass(pass, source, &losses));
  ISTHMUS_RETURN_IF_ERROR(group_->MoveBack());
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
  answers_.clear();
  runner_->EndPass();
  MicroBatchLoss sum;
  for (const MicroBatchLoss& loss : losses) {
    sum.loss_sum += loss.loss_sum;
    sum.predicted += loss.predicted;
  }
  if (!std::isfinite(sum.loss_sum))
    return absl::FailedPreconditionError(
        absl::StrCat("loss: expected a number, got ", sum.loss_sum, " (step ", probe.step, ")"));
  return sum;
}

absl::Status ClientSession::DescendAll(const Descent& descent, StepResult* result) {
  v1::Packet end;
  end.mutable_step_descend()->set_step(descent.step);
  end.mutable_step_descend()->set_lr(descent.lr);
  for (const double slope : descent.slopes) end.mutable_step_descend()->add_slopes(slope);
  ISTHMUS_RETURN_IF_ERROR(SendAll(end));
  const int64_t update_us = NowUs();
  ISTHMUS_RETURN_IF_ERROR(group_->Descend(descent));
  result->times = runner_->TakeTimes();
  result->times.compute_s += static_cast<double>(NowUs() - update_us) * 1e-6;
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return step_done_.size() == workers_.size(); }));
  for (auto& [party, done] : std::exchange(step_done_, {}))
    result->worker_busy_s[party] = done.compute_s() + done.encode_s() + done.decode_s();
  return absl::OkStatus();
}

absl::StatusOr<StepResult> ClientSession::ProbeStep(uint64_t step, uint32_t micro_batches,
                                                    double eps, double lr, BatchSource* source) {
  const int64_t start_us = NowUs();
  const uint32_t probes = plan_.train().probes();
  Descent descent = {plan_.train().seed(), step, {}, lr, plan_.train().optimizer().weight_decay()};
  StepResult result;
  for (uint32_t index = 0; index < probes; ++index) {
    const Probe probe = {descent.seed, step, index};
    ISTHMUS_ASSIGN_OR_RETURN(const MicroBatchLoss up, LossAt(probe, eps, micro_batches, source));
    ISTHMUS_ASSIGN_OR_RETURN(const MicroBatchLoss down, LossAt(probe, -eps, micro_batches, source));
    result.predicted = up.predicted;
    result.loss_sum += (up.loss_sum + down.loss_sum) / (2.0 * probes);
    const double slope = (up.loss_sum - down.loss_sum) / (2.0 * eps * up.predicted);
    result.grad_norm += slope * slope / probes;
    descent.slopes.push_back(slope / probes);
  }
  result.grad_norm = std::sqrt(result.grad_norm);
  ISTHMUS_RETURN_IF_ERROR(DescendAll(descent, &result));
  CountStep(result, micro_batches, start_us, source);
  return result;
}

}  // namespace isthmus
