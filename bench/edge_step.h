// The engine of one of the two programs that edge_step.cc is built into.
#ifndef ISTHMUS_BENCH_EDGE_STEP_H_
#define ISTHMUS_BENCH_EDGE_STEP_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/stage.h"

namespace isthmus::bench {

void PrepareStepProcess(char** argv);
absl::StatusOr<std::unique_ptr<Engine>> MakeStepEngine(int64_t threads);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_EDGE_STEP_H_
