// Training steps of a client's part on the on-device engine beside LibTorch's.
#ifndef ISTHMUS_BENCH_EDGE_ROWS_H_
#define ISTHMUS_BENCH_EDGE_ROWS_H_

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

// Rows {engine, weights, step_s, peak_rss_bytes, step_over_torch, rss_over_torch}. Each round runs
// every row once, a process each, in turn; ratios are medians over the rounds' own. `programs`: the
// folder of isthmus_step_torch and isthmus_step_edge.
absl::StatusOr<nlohmann::json> RunEdgeSteps(const std::string& programs);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_EDGE_ROWS_H_
