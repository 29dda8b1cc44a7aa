// What a session reports of a pass: counters of edges, stage time, links. One place, so that client
// and workers agree.
#ifndef ISTHMUS_PIPELINE_RUN_METRICS_H_
#define ISTHMUS_PIPELINE_RUN_METRICS_H_

#include <string>
#include <vector>

#include "link/link.h"
#include "metrics/metrics.h"
#include "pipeline/stage_runner.h"

namespace isthmus {

// Threads: the stage thread of one session.
class RunMetrics {
 public:
  // `role` is "client" or "worker"; `stage` the party's first stage.
  RunMetrics(std::string role, std::string job, uint32_t stage);
  ~RunMetrics();  // the job's series go an hour later

  void CountEdges(const std::vector<StageRunner::EdgeReport>& reports);
  void CountTimes(const PassTimes& times);
  void CountLinks(const LinkStats& total);  // totals so far; the difference is counted
  void CountStep(double seconds, int64_t store_bytes);
  void CountTokens(int64_t tokens, double loss);  // client only

 private:
  const std::string role_, job_, stage_;
  LinkStats last_;
};

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_RUN_METRICS_H_
