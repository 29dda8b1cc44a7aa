#include "engine/zeroth_order.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"

namespace isthmus {
namespace {

uint64_t KeyOf(const Probe& probe, const std::string& name) {
  return RandomKey(probe.seed, absl::StrCat("spsa.", name), probe.step, probe.index);
}

// Four normals for four words: Box-Muller on two pairs. 32 bits reach 6.7 deviations.
std::array<double, 4> NormalsAt(uint64_t key, uint64_t block) {
  const std::array<uint32_t, 4> words = Philox(key, block);
  std::array<double, 4> normals;
  for (size_t i = 0; i < 4; i += 2) {
    const double radius = std::sqrt(-2.0 * std::log((words[i] + 1.0) * 0x1p-32));
    const double angle = 2.0 * M_PI * (words[i + 1] * 0x1p-32);
    normals[i] = radius * std::cos(angle);
    normals[i + 1] = radius * std::sin(angle);
  }
  return normals;
}

}  // namespace

void MoveAlong(const Probe& probe, const std::string& name, double scale,
               absl::Span<const float> from, absl::Span<float> to) {
  ISTHMUS_CHECK(from.size() == to.size());
  const uint64_t key = KeyOf(probe, name);
  for (size_t first = 0; first < to.size(); first += 4) {
    const std::array<double, 4> z = NormalsAt(key, first / 4);
    for (size_t i = first; i < std::min(first + 4, to.size()); ++i)
      to[i] = static_cast<float>(double{from[i]} + scale * z[i - first]);
  }
}

void Descend(const Descent& descent, const std::string& name, absl::Span<float> values) {
  std::vector<uint64_t> keys;
  for (uint32_t index = 0; index < descent.slopes.size(); ++index)
    keys.push_back(KeyOf({descent.seed, descent.step, index}, name));
  const double kept = 1.0 - descent.lr * descent.weight_decay;
  for (size_t first = 0; first < values.size(); first += 4) {
    double gradient[4] = {};
    for (size_t probe = 0; probe < keys.size(); ++probe) {
      const std::array<double, 4> z = NormalsAt(keys[probe], first / 4);
      for (size_t i = 0; i < 4; ++i) gradient[i] += descent.slopes[probe] * z[i];
    }
    for (size_t i = first; i < std::min(first + 4, values.size()); ++i)
      values[i] = static_cast<float>(kept * values[i] - descent.lr * gradient[i - first]);
  }
}

}  // namespace isthmus
