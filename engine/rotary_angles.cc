#include "engine/rotary_angles.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace isthmus {
namespace {

// Llama 3's rule: frequencies whose wave is long against the original context are slowed by
// `factor`, short ones are left, and between the two the share is linear in the number of waves per
// original context.
double ScaledFrequency(const RopeScaling& scaling, double frequency) {
  if (scaling.kind == RopeScaling::Kind::kNone) return frequency;
  const double slow = frequency / scaling.factor;
  if (scaling.kind == RopeScaling::Kind::kLinear) return slow;
  const double waves =
      static_cast<double>(scaling.original_max_position) * frequency / (2.0 * std::numbers::pi);
  const double share = std::clamp(
      (waves - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor), 0.0,
      1.0);
  return (1.0 - share) * slow + share * frequency;
}

}  // namespace

std::vector<double> RotaryFrequencies(const ModelConfig& config) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < config.head_dim; i += 2) {
    const double power = static_cast<double>(i) / static_cast<double>(config.head_dim);
    frequencies.push_back(
        ScaledFrequency(config.rope_scaling, std::pow(config.rope_theta, -power)));
  }
  return frequencies;
}

}  // namespace isthmus
