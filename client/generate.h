// Text from a model: asks a source of logits, draws an id, gives it back, until an end.
#ifndef ISTHMUS_CLIENT_GENERATE_H_
#define ISTHMUS_CLIENT_GENERATE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "client/sampler.h"

namespace isthmus {

// One growing sequence, in this process or through a split over peers.
class LogitsSource {
 public:
  virtual ~LogitsSource() = default;
  // Adds `ids` (at least one) to the sequence. The logits after the last of them, [vocab], fp32.
  virtual absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids) = 0;
};

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  int64_t max_positions = 0;     // the model's context
  std::vector<int64_t> eos_ids;  // empty: never stops by itself
  SamplerOptions sampler;
};

struct Generation {
  enum class End : uint8_t { kLength, kEos, kContext, kStopped };
  std::vector<int32_t> ids;  // prompt and new ids, an end-of-sequence id included
  int64_t num_new = 0;
  double seconds = 0.0;  // from the first new id's request to the last id
  End end = End::kLength;
};

// `on_id` hears every new id at once; false stops. kInvalidArgument for an empty prompt or one that
// fills the context (names
// --prompt). Stops where the context ends.
absl::StatusOr<Generation> Generate(LogitsSource* source, const std::vector<int32_t>& prompt,
                                    const GenerateOptions& options,
                                    const std::function<bool(int32_t)>& on_id);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_GENERATE_H_
