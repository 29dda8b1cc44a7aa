#include "client/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "base/status.h"

namespace isthmus {
namespace {

int32_t Greedy(absl::Span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// The `count` likeliest ids, likeliest first.
std::vector<int32_t> Likeliest(absl::Span<const float> logits, int64_t count) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  });
  ids.resize(count);
  return ids;
}

// exp((l - l_max) / T) of each; the largest is 1, so the sum is at least 1 and never overflows.
std::vector<double> Weights(absl::Span<const float> logits, const std::vector<int32_t>& ids,
                            double temperature) {
  std::vector<double> weights(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const double below = static_cast<double>(logits[ids[i]]) - logits[ids[0]];
    weights[i] = std::exp(below / temperature);
  }
  return weights;
}

// How many of the likeliest reach a share `top_p` of the whole; at least one.
size_t NucleusSize(const std::vector<double>& weights, double top_p) {
  const double goal = top_p * std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0.0;
  for (size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (sum >= goal) return i + 1;
  }
  return weights.size();
}

}  // namespace

absl::StatusOr<int32_t> SampleId(absl::Span<const float> logits, const SamplerOptions& options,
                                 int64_t position) {
  float largest = -INFINITY;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == INFINITY) {
      return InvalidArgument("generate: expected finite logits, got ", logits[i], " for id ", i,
                             " at position ", position, " (the model's weights)");
    }
    largest = std::max(largest, logits[i]);
  }
  if (largest == -INFINITY) {
    return InvalidArgument("generate: expected finite logits, got none at position ", position);
  }
  if (options.temperature == 0.0) return Greedy(logits);
  const int64_t vocab = static_cast<int64_t>(logits.size());
  const int64_t count = options.top_k > 0 ? std::min(options.top_k, vocab) : vocab;
  const std::vector<int32_t> ids = Likeliest(logits, count);
  std::vector<double> weights = Weights(logits, ids, options.temperature);
  if (options.top_p < 1.0) weights.resize(NucleusSize(weights, options.top_p));
  CounterRng rng(RandomKey(options.seed, "generate", static_cast<uint64_t>(position)));
  double left = rng.NextUniform() * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0.0) return ids[i];
  }
  return ids[weights.size() - 1];  // rounding left a remainder of 1e-16
}

}  // namespace isthmus
