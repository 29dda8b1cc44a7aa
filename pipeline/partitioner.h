// Partitioner: pure. Model costs, measured devices and links, constraints -> Plan with predicted
// step time.
#ifndef ISTHMUS_PIPELINE_PARTITIONER_H_
#define ISTHMUS_PIPELINE_PARTITIONER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isthmus/v1/plan.pb.h"

namespace isthmus {

// Makes the plan of generation 1 for `job_id` on some of `workers` (in the given order, the ones
// that help most; request.stages fixes their number, 0 = as many as the simulator finds useful).
// kUnavailable when fewer workers than asked for are given; kInvalidArgument for an impossible
// split or memory limits that cannot be met, naming the key.
absl::StatusOr<v1::Plan> MakePlan(const v1::PlanRequest& request,
                                  absl::Span<const v1::WorkerInfo> workers,
                                  const std::string& job_id);

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_PARTITIONER_H_
