#include "bench/edge_step.h"
#include "engine/torch/engine.h"
#include "engine/torch/environment.h"

namespace isthmus::bench {

void PrepareStepProcess(char** argv) { TuneProcess(argv); }

absl::StatusOr<std::unique_ptr<Engine>> MakeStepEngine(int64_t threads) {
  return MakeTorchEngine("cpu", threads);
}

}  // namespace isthmus::bench
