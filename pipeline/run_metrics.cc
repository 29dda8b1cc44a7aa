#include "pipeline/run_metrics.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace isthmus {

RunMetrics::RunMetrics(std::string role, std::string job, uint32_t stage)
    : role_(std::move(role)), job_(std::move(job)), stage_(absl::StrCat(stage)) {}

RunMetrics::~RunMetrics() { Metrics::Global().JobEnded(job_); }

void RunMetrics::CountEdges(const std::vector<StageRunner::EdgeReport>& reports) {
  Metrics& metrics = Metrics::Global();
  for (const StageRunner::EdgeReport& report : reports) {
    const LabelValues labels = {absl::StrCat(report.edge), std::string(Name(report.direction)),
                                role_, job_};
    const EdgeUse& use = report.use;
    metrics.Get(kWireBytesTotal, labels).Add(static_cast<double>(use.wire_bytes()));
    metrics.Get(kWireElementsTotal, labels).Add(static_cast<double>(use.elements));
    metrics.Get(kFramesTotal, labels).Add(static_cast<double>(use.frames));
    metrics.Get(kKeyFramesTotal, labels).Add(static_cast<double>(use.key_frames));
    if (report.traffic != Traffic::kTraining || use.elements == 0) continue;
    metrics.Get(kBitsPerElement, labels).Set(BitsPerElement(use.wire_bytes(), use.elements));
    metrics.Get(kPayloadBits, labels).Set(BitsPerElement(use.payload_bytes, use.elements));
  }
}

void RunMetrics::CountTimes(const PassTimes& times) {
  Metrics& metrics = Metrics::Global();
  const std::pair<const char*, double> phases[] = {{"compute", times.compute_s},
                                                   {"encode", times.encode_s},
                                                   {"decode", times.decode_s},
                                                   {"wait", times.wait_s}};
  for (const auto& [phase, seconds] : phases)
    metrics.Get(kStageBusySecondsTotal, {phase, stage_, role_, job_}).Add(seconds);
}

void RunMetrics::CountLinks(const LinkStats& total) {
  Metrics& metrics = Metrics::Global();
  metrics.Get(kLinkSentBytesTotal).Add(static_cast<double>(total.sent_bytes - last_.sent_bytes));
  metrics.Get(kLinkReceivedBytesTotal)
      .Add(static_cast<double>(total.received_bytes - last_.received_bytes));
  metrics.Get(kLinkResentBytesTotal)
      .Add(static_cast<double>(total.resent_bytes - last_.resent_bytes));
  metrics.Get(kLinkReconnectsTotal).Add(static_cast<double>(total.reconnects - last_.reconnects));
  last_ = total;
}

void RunMetrics::CountStep(double seconds, int64_t store_bytes) {
  Metrics& metrics = Metrics::Global();
  metrics.Get(kStepsTotal, {role_, job_}).Add(1);
  metrics.Get(kStepSeconds, {role_}).Observe(seconds);
  metrics.Get(kStoreBytes).Set(static_cast<double>(store_bytes));
}

void RunMetrics::CountTokens(int64_t tokens, double loss) {
  Metrics::Global().Get(kTokensTotal, {role_, job_}).Add(static_cast<double>(tokens));
  Metrics::Global().Get(kLoss, {job_}).Set(loss);
}

}  // namespace isthmus
