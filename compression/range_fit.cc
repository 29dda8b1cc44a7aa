// From which values a group takes its range. Only the sender runs these; the range travels with the
// group.
#include <algorithm>
#include <cmath>

#include "compression/group_format.h"
#include "compression/kernels.h"
#include "compression/sums.h"

namespace isthmus {
namespace {

GroupParameters FitRms(const GroupFormat& format, const Extent& extent, const float* x, size_t n) {
  const auto [sum, squares] = SumMoments(x, n);
  const double count = static_cast<double>(n);
  const double mean = format.symmetric ? 0.0 : sum / count;
  const double reach = RmsFactor(format) * std::sqrt(std::max(0.0, squares / count - mean * mean));
  const float lo = std::max(extent.lo, static_cast<float>(mean - reach));
  const float hi = std::min(extent.hi, static_cast<float>(mean + reach));
  if (!format.symmetric) return FromRange(format, std::min(lo, hi), hi);
  return FromRange(format, 0.0f, static_cast<float>(reach));
}

// Counts values in 1024 equal bins of the range and gives up bins at the end that has fewer values
// (symmetric: both ends at once) until the share to clip is used up.
GroupParameters FitPercentile(const GroupFormat& format, const Extent& extent, const float* x,
                              size_t n) {
  constexpr size_t kBins = 1024;
  const float reach = std::max(std::fabs(extent.lo), std::fabs(extent.hi));
  const float lo = format.symmetric ? 0.0f : extent.lo, hi = format.symmetric ? reach : extent.hi;
  const double width = (static_cast<double>(hi) - lo) / kBins;
  if (!(width > 0.0)) return FromRange(format, extent.lo, extent.hi);
  uint32_t counts[kBins] = {};
  for (size_t i = 0; i < n; ++i) {
    const double v = format.symmetric ? std::fabs(x[i]) : x[i];
    ++counts[std::min(kBins - 1, static_cast<size_t>((v - lo) / width))];
  }
  double clip = static_cast<double>(n) * (1.0 - 0.01 * static_cast<double>(format.keep_percent));
  size_t begin = 0, end = kBins;
  while (end - begin > 1) {
    const bool upper = format.symmetric || counts[end - 1] <= counts[begin];
    const uint32_t lost = counts[upper ? end - 1 : begin];
    if (lost > clip) break;
    clip -= lost;
    upper ? --end : ++begin;
  }
  const float from = static_cast<float>(lo + width * static_cast<double>(begin));
  return FromRange(format, from, static_cast<float>(lo + width * static_cast<double>(end)));
}

GroupParameters FitMse(const GroupFormat& format, const Extent& extent, const float* x, size_t n) {
  const double centre = format.symmetric ? 0.0 : 0.5 * (static_cast<double>(extent.lo) + extent.hi);
  GroupParameters best = FromRange(format, extent.lo, extent.hi);
  float least = SquaredError(x, n, best);
  for (int percent = 95; percent >= 30; percent -= 5) {
    const double shrink = 0.01 * percent;
    const GroupParameters p =
        FromRange(format, static_cast<float>(centre + (extent.lo - centre) * shrink),
                  static_cast<float>(centre + (extent.hi - centre) * shrink));
    const float error = SquaredError(x, n, p);
    if (!(error < least)) continue;
    least = error;
    best = p;
  }
  return best;
}

}  // namespace

GroupParameters FitRange(const GroupFormat& format, const Extent& extent, const float* x,
                         size_t n) {
  if (n == 0) return FromRange(format, extent.lo, extent.hi);
  switch (format.range) {
    case RangeRule::kRms:
      return FitRms(format, extent, x, n);
    case RangeRule::kPercentile:
      return FitPercentile(format, extent, x, n);
    case RangeRule::kMse:
      return FitMse(format, extent, x, n);
    default:
      return FromRange(format, extent.lo, extent.hi);
  }
}

}  // namespace isthmus
