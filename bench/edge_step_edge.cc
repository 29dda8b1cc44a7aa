#include "bench/edge_step.h"
#include "engine/edge/engine.h"

namespace isthmus::bench {

void PrepareStepProcess(char**) {}

absl::StatusOr<std::unique_ptr<Engine>> MakeStepEngine(int64_t threads) {
  return MakeEdgeEngine(threads);
}

}  // namespace isthmus::bench
