// Tokens per second of a whole cluster over shaped links, per codec and rate, beside the bound that
// no schedule can beat.
#ifndef ISTHMUS_BENCH_END_TO_END_H_
#define ISTHMUS_BENCH_END_TO_END_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

struct EndToEndOptions {
  std::string isthmus;  // the program
  std::string folder;   // models, data, job files and runs are written here
  std::vector<std::string> codecs = {
      "none", "fp16", "int8", "int4", "aqsgd(bits=4)", "amaq(min=2,max=8,target=4)", "ecq(db=20)"};
  std::vector<int> rates_mbps = {10, 50, 100, 500};
  int steps = 3;  // measured ones, at least 1; two more come before them
};

// One object per codec and rate: codec, codec_backward, rate_mbps, tokens_per_s, step_s, compute_s,
// transfer_s, bound_s, share_of_bound, mean_step_s, predicted_s, predicted_over_mean,
// bits_per_element. The model has random weights and width
// 512; a step is 16 micro-batches of 64 tokens over four stages (client, two workers, client). Per
// rate,
//   step_s      median over the measured steps
//   compute_s   the same of the same Plan on unshaped links
//   transfer_s  bytes of the busiest host and direction of one step / rate
//   bound_s     the larger of the two; share_of_bound is the median over the steps of theirs
//   mean_step_s over all steps, the first visits of samples included; predicted_s is what the plan
//               said of it
// On two quiet cores the whole matrix takes some five minutes.
absl::StatusOr<nlohmann::json> RunEndToEnd(const EndToEndOptions& options);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_END_TO_END_H_
