// Draws the next id from logits: greedy, temperature, top-k (Fan et al. 2018) and top-p (Holtzman
// et al. 2020).
#ifndef ISTHMUS_CLIENT_SAMPLER_H_
#define ISTHMUS_CLIENT_SAMPLER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace isthmus {

struct SamplerOptions {
  double temperature = 0.0;  // 0: greedy
  int64_t top_k = 0;         // keeps the k likeliest; 0: all
  double top_p = 1.0;        // then the fewest whose probabilities reach p
  uint64_t seed = 0;
};

// The id at `position` of a sequence: a pure function of its arguments. Equal logits: the lower id
// first. kInvalidArgument when a logit is not a number or all are -inf.
absl::StatusOr<int32_t> SampleId(absl::Span<const float> logits, const SamplerOptions& options,
                                 int64_t position);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_SAMPLER_H_
