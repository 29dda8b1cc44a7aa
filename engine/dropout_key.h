// Dropout whose mask is a pure function of (seed, step, sample, layer, linear map, position): the
// same in a recomputed forward pass, in another micro-batch, on another party, engine and device.
#ifndef ISTHMUS_ENGINE_DROPOUT_KEY_H_
#define ISTHMUS_ENGINE_DROPOUT_KEY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace isthmus {

// What of the key the micro-batch gives. `rate` 0: no dropout.
struct DropoutKey {
  double rate = 0.0;
  uint64_t seed = 0;
  uint64_t step = 0;
  std::vector<uint64_t> samples;
  std::vector<int32_t> lengths;
};

// `mask` [tokens, width]: 0 and 1 / (1 - rate), for one linear map ("self_attn.q_proj") of a layer.
void FillDropoutMask(const DropoutKey& key, int64_t layer, const std::string& module, int64_t width,
                     absl::Span<float> mask);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_DROPOUT_KEY_H_
