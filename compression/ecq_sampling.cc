#include "compression/ecq_sampling.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "compression/scratch.h"

namespace isthmus {

EcqSampling::EcqSampling(const EcqOptions& options, const EdgeShape& shape)
    : shape_(shape),
      keep_(options.keep),
      active_(options.keep < 1.0 && shape.direction == Direction::kBackward) {}

// c by bisection: the mean of min(1, max(c |g|, keep / 10)) rises with it.
void EcqSampling::FindChances(const std::vector<double>& norms) {
  const double largest = *std::max_element(norms.begin(), norms.end());
  const size_t live = static_cast<size_t>(
      std::count_if(norms.begin(), norms.end(), [](double n) { return n > 0; }));
  chances_.assign(norms.size(), 0.0);
  if (live == 0) return;
  const auto set = [&](double c) {
    double sum = 0;
    for (size_t t = 0; t < norms.size(); ++t) {
      if (norms[t] > 0) chances_[t] = std::min(1.0, std::max(c * (norms[t] / largest), keep_ / 10));
      sum += chances_[t];
    }
    return sum;
  };
  double low = 0.0, high = 1.0;
  const double wanted = keep_ * static_cast<double>(norms.size());
  while (set(high) < wanted && high < 1e12) high *= 2;
  for (int i = 0; i < 50; ++i) {
    const double middle = 0.5 * (low + high);
    (set(middle) < wanted ? low : high) = middle;
  }
  set(high);
}

const float* EcqSampling::Draw(absl::Span<const float> g_TD, const FrameContext& context) {
  const size_t width = static_cast<size_t>(shape_.width), rows = g_TD.size() / width;
  norms_.assign(rows, 0.0);
  for (size_t t = 0; t < rows; ++t) {
    double square = 0;
    for (size_t c = 0; c < width; ++c) {
      const double v = g_TD[t * width + c];
      square += v * v;
    }
    norms_[t] = std::sqrt(square);
  }
  FindChances(norms_);
  kept_rows_.assign(rows, 0);
  kept_ = 0;
  float* out = Room(&rows_, g_TD.size());
  std::fill(out, out + g_TD.size(), 0.0f);
  const uint64_t path = uint64_t{shape_.edge} << 1 | static_cast<uint64_t>(shape_.direction);
  for (const SampleRows& sample : context.samples) {
    const uint64_t key = RandomKey(shape_.seed, "codec.keep", path, context.step, sample.sample);
    for (int64_t i = 0; i < sample.tokens; ++i) {
      const size_t t = static_cast<size_t>(sample.begin + i);
      const double draw = UniformFloat(Philox(key, static_cast<uint64_t>(i))[0]);
      if (chances_[t] <= 0 || draw >= chances_[t]) continue;
      kept_rows_[t] = 1;
      ++kept_;
      const float gain = static_cast<float>(1.0 / chances_[t]);
      for (size_t c = 0; c < width; ++c) out[t * width + c] = g_TD[t * width + c] * gain;
    }
  }
  return out;
}

}  // namespace isthmus
