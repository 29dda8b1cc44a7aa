#include "engine/torch/dropout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/rng.h"

namespace isthmus {

at::Tensor DropoutMask(const DropoutKey& key, int64_t layer, const std::string& module,
                       int64_t width, const at::Device& device) {
  int64_t tokens = 0;
  for (int32_t length : key.lengths) tokens += length;
  at::Tensor mask = at::empty({tokens, width}, at::kFloat);
  const float kept = static_cast<float>(1.0 / (1.0 - key.rate));
  const float rate = static_cast<float>(key.rate);
  const std::string purpose = absl::StrCat("lora.dropout.", module);
  float* row = mask.data_ptr<float>();
  for (size_t s = 0; s < key.samples.size(); ++s) {
    const uint64_t sample_key = RandomKey(key.seed, purpose, key.step, key.samples[s], layer);
    for (int32_t position = 0; position < key.lengths[s]; ++position, row += width) {
      for (int64_t i = 0; i < width; i += 4) {
        const std::array<uint32_t, 4> words = Philox(sample_key, i / 4, position);
        for (int64_t j = i; j < std::min(i + 4, width); ++j) {
          row[j] = UniformFloat(words[j - i]) < rate ? 0.0f : kept;
        }
      }
    }
  }
  return mask.to(device);
}

}  // namespace isthmus
