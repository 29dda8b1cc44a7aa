#include "engine/lora_start.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_join.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/status.h"

namespace isthmus {

bool IsLoraTarget(const LoraSpec& lora, const LinearName& linear) {
  return std::any_of(lora.targets.begin(), lora.targets.end(), [&](const std::string& target) {
    return target == linear.leaf || target == linear.module;
  });
}

absl::Status CheckLora(const ModelConfig& config, const LoraSpec& lora) {
  if (lora.rank < 1) {
    return InvalidArgument("rank: expected 1 or more, got ", lora.rank, " (train.lora)");
  }
  if (!(lora.dropout >= 0.0 && lora.dropout < 1.0)) {
    return InvalidArgument("dropout: expected 0 or more and less than 1, got ", lora.dropout,
                           " (train.lora)");
  }
  const std::vector<LinearName> linears = BlockLinears(config);
  for (const std::string& target : lora.targets) {
    const bool known = std::any_of(linears.begin(), linears.end(), [&](const LinearName& linear) {
      return target == linear.leaf || target == linear.module;
    });
    if (known) continue;
    const auto leaf = [](std::string* out, const LinearName& name) { out->append(name.leaf); };
    return InvalidArgument("targets: expected some of ", absl::StrJoin(linears, ", ", leaf),
                           ", got ", target, " (train.lora)");
  }
  return absl::OkStatus();
}

void DrawLoraA(uint64_t seed, int64_t layer, const std::string& name, int64_t in,
               absl::Span<float> values) {
  const uint64_t key = RandomKey(seed, "lora.A", layer, Hash64(absl::string_view(name)));
  const float bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(in)));
  for (size_t i = 0; i < values.size(); i += 4) {
    const std::array<uint32_t, 4> words = Philox(key, i / 4);
    for (size_t j = i; j < std::min(i + 4, values.size()); ++j) {
      values[j] = (2.0f * UniformFloat(words[j - i]) - 1.0f) * bound;
    }
  }
}

}  // namespace isthmus
