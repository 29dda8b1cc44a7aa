// What a job would be placed like, without running anything: the same request and the same planner
// as a run.
#ifndef ISTHMUS_CLIENT_PLAN_PREVIEW_H_
#define ISTHMUS_CLIENT_PLAN_PREVIEW_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client_memory.h"
#include "client/job.h"
#include "engine/stage.h"
#include "isthmus/v1/plan.pb.h"

namespace isthmus {

struct PlanPreview {
  v1::Plan plan;
  std::string codec_reason;  // why this codec, where the job names none
  ClientMemory client_memory;
  std::string ToJson() const;
  std::string Table() const;
};

// `workers` empty: the job's embedded cluster, each as fast as this machine. Reads model and data,
// measures `engine`.
absl::StatusOr<PlanPreview> PreviewPlan(const Job& job, std::vector<v1::WorkerInfo> workers,
                                        Engine* engine);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_PLAN_PREVIEW_H_
