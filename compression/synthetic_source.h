// Made-up matrices with the properties that decide between codecs: tails, hot channels, tokens that
// resemble their neighbours. For benches and tests; the same on every run.
#ifndef ISTHMUS_COMPRESSION_SYNTHETIC_SOURCE_H_
#define ISTHMUS_COMPRESSION_SYNTHETIC_SOURCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace isthmus {

// gaussian   variance 1
// laplace    variance 1
// student4   Student's t with 4 degrees of freedom, variance 2
// outlier    gaussian; of 256 channels 4 are 30 times larger and 12 are shifted by 5
// ar1        gaussian along the tokens with correlation 0.95
absl::Span<const absl::string_view> SyntheticSources();

// tokens x width values, row-major; kInvalidArgument for an unknown name.
absl::StatusOr<std::vector<float>> SyntheticValues(absl::string_view source, int64_t tokens,
                                                   int64_t width, uint64_t seed = 1);

// Tokens with correlation `rho` from one to the next, variance 1.
std::vector<float> CorrelatedTokens(double rho, int64_t tokens, int64_t width, uint64_t seed = 1);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SYNTHETIC_SOURCE_H_
