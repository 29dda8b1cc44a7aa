// The one engine of `isthmus-edge`.
#include "cli/engine.h"
#include "engine/edge/engine.h"

namespace isthmus {

void PrepareProcess(char**) {}

std::vector<Flag> ComputeFlags() {
  return {{.name = "engine",
           .value = "ENGINE",
           .help = "what computes",
           .fallback = "edge",
           .choices = {"edge"}},
          ThreadsFlag(),
          {.name = "device",
           .value = "DEVICE",
           .help = "where to compute",
           .fallback = "cpu",
           .choices = {"cpu"}},
          WeightsFlag()};
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const Invocation& invocation) {
  return MakeEdgeEngine(invocation.Integer("threads"), invocation.Text("weights"));
}

}  // namespace isthmus
