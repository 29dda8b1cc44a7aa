// Simulator: pure. How long one training step takes, given what stages cost and links carry; a
// discrete-event run of the schedule.
#ifndef ISTHMUS_PIPELINE_SIMULATOR_H_
#define ISTHMUS_PIPELINE_SIMULATOR_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "pipeline/schedule.h"

namespace isthmus {

// Seconds and bytes per micro-batch. `forward_s` and `backward_s` include decode before and encode
// after.
struct StageCost {
  double forward_s = 0.0;
  double backward_s = 0.0;
};
struct EdgeCost {
  int64_t forward_bytes = 0;
  int64_t backward_bytes = 0;
};
// A host's link: all its traffic in one direction shares `rate_mbps` (0: no limit); every frame
// takes `delay_s` more, one way.
struct HostLink {
  double rate_mbps = 0.0;
  double delay_s = 0.0;
};

struct SimulatedStep {
  double step_s = 0.0;
  std::vector<double> busy_s;    // per party: computing
  std::vector<double> egress_s;  // per party: sending
};

// `edges[i]` joins stage i and i + 1; `links` is indexed by party; `update_s` (norms, optimizer,
// commit) follows the last backward. `shared_cores`: the parties are processes of one machine with
// so many cores, which are shared evenly (0: each has its own).
SimulatedStep SimulateStep(const Schedule& schedule, absl::Span<const StageCost> stages,
                           absl::Span<const EdgeCost> edges, absl::Span<const HostLink> links,
                           double update_s, uint32_t shared_cores = 0);

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_SIMULATOR_H_
