#include "compression/synthetic_source.h"

#include <cmath>

#include "absl/strings/str_join.h"
#include "base/rng.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr absl::string_view kSources[] = {"gaussian", "laplace", "student4", "outlier", "ar1"};

double Laplace(CounterRng* random) {
  const double u = random->NextUniform() - 0.5;
  const double magnitude = -std::log(1.0 - 2.0 * std::fabs(u)) * std::sqrt(0.5);
  return u < 0 ? -magnitude : magnitude;
}

double Student4(CounterRng* random) {
  double squares = 0;
  for (int k = 0; k < 4; ++k) {
    const double normal = random->NextNormal();
    squares += normal * normal;
  }
  return random->NextNormal() / std::sqrt(squares / 4.0);
}

double WithOutliers(CounterRng* random, int64_t channel) {
  const int64_t place = channel % 256;
  const double normal = random->NextNormal();
  if (place % 64 == 17) return 30.0 * normal;
  return place % 21 == 5 ? normal + 5.0 : normal;
}

}  // namespace

absl::Span<const absl::string_view> SyntheticSources() { return kSources; }

std::vector<float> CorrelatedTokens(double rho, int64_t tokens, int64_t width, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(tokens * width));
  CounterRng random(RandomKey(seed, "source.ar1"));
  const double fresh = std::sqrt(1.0 - rho * rho);
  for (size_t i = 0; i < x.size(); ++i) {
    const double normal = random.NextNormal();
    const size_t stride = static_cast<size_t>(width);
    x[i] = static_cast<float>(i < stride ? normal : rho * x[i - stride] + fresh * normal);
  }
  return x;
}

absl::StatusOr<std::vector<float>> SyntheticValues(absl::string_view source, int64_t tokens,
                                                   int64_t width, uint64_t seed) {
  if (source == "ar1") return CorrelatedTokens(0.95, tokens, width, seed);
  std::vector<float> x(static_cast<size_t>(tokens * width));
  CounterRng random(RandomKey(seed, "source.values"));
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) % width;
    double value;
    if (source == "gaussian") {
      value = random.NextNormal();
    } else if (source == "laplace") {
      value = Laplace(&random);
    } else if (source == "student4") {
      value = Student4(&random);
    } else if (source == "outlier") {
      value = WithOutliers(&random, channel);
    } else {
      return InvalidArgument("source: expected one of ", absl::StrJoin(kSources, ", "), ", got ",
                             source);
    }
    x[i] = static_cast<float>(value);
  }
  return x;
}

}  // namespace isthmus
