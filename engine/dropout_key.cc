#include "engine/dropout_key.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"

namespace isthmus {

void FillDropoutMask(const DropoutKey& key, int64_t layer, const std::string& module, int64_t width,
                     absl::Span<float> mask) {
  const float kept = static_cast<float>(1.0 / (1.0 - key.rate));
  const float rate = static_cast<float>(key.rate);
  const std::string purpose = absl::StrCat("lora.dropout.", module);
  float* row = mask.data();
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
  ISTHMUS_CHECK(row == mask.data() + mask.size());
}

}  // namespace isthmus
