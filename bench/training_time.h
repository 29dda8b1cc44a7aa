// How long a fine-tuning run takes over links of a rate: the product's simulator, with the bytes
// that the run sent and the speed at which it computed without links.
#ifndef ISTHMUS_BENCH_TRAINING_TIME_H_
#define ISTHMUS_BENCH_TRAINING_TIME_H_

#include "absl/status/statusor.h"
#include "isthmus/v1/plan.pb.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

// Seconds of a mean step of `plan`, whose edges sent what `row` (TrainInRing) says, over hosts'
// links of `rate_mbps`. A step without links takes `unshaped_step_s`: the plan's shares of
// computing are scaled to it, so that coding counts as computing. `cores`: of the one machine that
// the parties shared.
absl::StatusOr<double> SimulatedStepSeconds(const v1::Plan& plan, const nlohmann::json& row,
                                            double unshaped_step_s, double rate_mbps,
                                            uint32_t cores);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_TRAINING_TIME_H_
