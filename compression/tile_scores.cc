#include "compression/tile_scores.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "compression/group_format.h"
#include "compression/kernels.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

// Visits tiles in row-major order: first row, rows, first column, columns.
template <typename Visit>
void ForTiles(RowBlock rows, size_t width, const TileGrid& grid, const Visit& visit) {
  size_t tile = 0;
  for (size_t r = 0; r < rows.count; r += grid.tokens) {
    for (size_t begin = 0; begin < width; begin += grid.channels) {
      visit(tile++, r, std::min(grid.tokens, rows.count - r), begin,
            std::min(grid.channels, width - begin));
    }
  }
}

// log2 for x > 0 within 0.01: exponent and a parabola through the mantissa. It ranks tiles; libm
// would cost more than the rest of the encoder.
float RoughLog2(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const float m = std::bit_cast<float>((bits & 0x007FFFFFu) | 0x3F800000u);
  return static_cast<float>(static_cast<int32_t>(bits >> 23) - 127) +
         (m - 1.0f) * (1.3465557f - 0.3465557f * (m - 1.0f));
}

struct TileSums {
  float lo = 0, hi = 0;
  double magnitudes = 0, squares = 0, logs = 0;
  double count = 0;
};

TileSums Sum(const float* x, size_t down, size_t across, size_t stride, bool logs) {
  TileSums sums;
  sums.lo = sums.hi = x[0];
  for (size_t r = 0; r < down; ++r, x += stride) {
    const Extent extent = ScanExtent(x, across);
    sums.lo = std::min(sums.lo, extent.lo);
    sums.hi = std::max(sums.hi, extent.hi);
    float magnitudes = 0, squares = 0, log_sum = 0;
    for (size_t c = 0; c < across; ++c) {
      const float magnitude = std::fabs(x[c]);
      magnitudes += magnitude;
      squares += magnitude * magnitude;
      if (logs) log_sum += magnitude * RoughLog2(magnitude + 0x1p-126f);
    }
    sums.magnitudes += magnitudes;
    sums.squares += squares;
    sums.logs += log_sum;
  }
  sums.count = static_cast<double>(down * across);
  return sums;
}

float Score(TileScore score, const TileSums& sums) {
  switch (score) {
    case TileScore::kEntropy:
      if (!(sums.magnitudes > 0)) return 0.0f;
      return static_cast<float>(RoughLog2(static_cast<float>(sums.magnitudes)) -
                                sums.logs / sums.magnitudes);
    case TileScore::kOutlier: {
      const double largest = std::max(std::fabs(sums.lo), std::fabs(sums.hi));
      return sums.squares > 0 ? static_cast<float>(largest / std::sqrt(sums.squares / sums.count))
                              : 0.0f;
    }
    default:
      return sums.hi - sums.lo;
  }
}

// Sum of worth * (x - x^)^2 with nearest rounding.
float WorthError(const float* x, const float* worth, size_t n, const GroupParameters& p) {
  float sums[8] = {};
  for (size_t i = 0; i < n; ++i) {
    const float scaled = (x[i] - p.from) * p.inverse + p.offset;
    const float code = std::nearbyintf(std::clamp(scaled, 0.0f, p.top));
    const float miss = x[i] - (p.base + code * p.scale);
    sums[i % 8] += worth[i] * (miss * miss);
  }
  float sum = 0.0f;
  for (const float s : sums) sum += s;
  return sum;
}

}  // namespace

const std::vector<std::string>& TileScoreWords() {
  static const auto* words =
      new std::vector<std::string>{"range", "entropy", "outlier", "position", "error", "loss"};
  return *words;
}

void TileScorer::SetWorth(const std::vector<double>& worth) {
  worth_.assign(worth.begin(), worth.end());
}

float TileScorer::Measure(const float* x, size_t down, size_t across, size_t stride, size_t channel,
                          const GroupParameters& parameters) const {
  float error = 0.0f;
  for (size_t r = 0; r < down; ++r, x += stride) {
    error += worth_.empty() ? SquaredError(x, across, parameters)
                            : WorthError(x, &worth_[channel], across, parameters);
  }
  return error;
}

void TileScorer::Errors(const PartFrame& frame, RowBlock rows, const TileGrid& grid, const float* x,
                        uint32_t widths, float* errors) {
  float* squares = Room(&squares_, grid.Count(rows.count, frame.width));
  if (score_ == TileScore::kPosition) PositionScores(frame, rows, grid, squares);
  ForTiles(
      rows, frame.width, grid,
      [&](size_t tile, size_t r, size_t down, size_t begin, size_t across) {
        const float* at = x + r * frame.width + begin;
        const TileSums sums = Sum(at, down, across, frame.width, score_ == TileScore::kEntropy);
        const float variance = score_ == TileScore::kPosition ? squares[tile] : Score(score_, sums);
        for (int bits = 1; bits <= 8; ++bits) {
          if ((widths >> bits & 1) == 0) continue;
          const GroupFormat format{bits, false, RangeRule::kMinMax};
          double left = sums.count * static_cast<double>(variance) / (1 << 2 * bits);
          if (IsError(score_)) {
            left =
                Measure(at, down, across, frame.width, begin, FromRange(format, sums.lo, sums.hi));
          } else if (score_ == TileScore::kRange) {
            const double step = (static_cast<double>(sums.hi) - sums.lo) / format.Top();
            left = sums.count * step * step / 12.0;
          }
          errors[8 * tile + static_cast<size_t>(bits) - 1] = static_cast<float>(left);
        }
      });
}

void TileScorer::Scores(const PartFrame& frame, RowBlock rows, const TileGrid& grid, const float* x,
                        int low, int high, float* scores) {
  if (score_ == TileScore::kPosition) return PositionScores(frame, rows, grid, scores);
  if (IsError(score_)) {
    float* errors = Room(&errors_, 8 * grid.Count(rows.count, frame.width));
    Errors(frame, rows, grid, x, 1u << low | 1u << high, errors);
    ForTiles(rows, frame.width, grid, [&](size_t tile, size_t, size_t down, size_t, size_t across) {
      const float* of = errors + 8 * tile - 1;
      scores[tile] = (of[low] - of[high]) / static_cast<float>(down * across);
    });
    return;
  }
  ForTiles(rows, frame.width, grid,
           [&](size_t tile, size_t r, size_t down, size_t begin, size_t across) {
             scores[tile] = Score(score_, Sum(x + r * frame.width + begin, down, across,
                                              frame.width, score_ == TileScore::kEntropy));
           });
}

void PositionScores(const PartFrame& frame, RowBlock rows, const TileGrid& grid, float* scores) {
  size_t sample = 0;
  const size_t across = grid.Across(frame.width);
  for (size_t r = 0; r < rows.count; r += grid.tokens, scores += across) {
    const int64_t row = static_cast<int64_t>(rows.first + r);
    while (row >= frame.samples[sample].begin + frame.samples[sample].tokens) ++sample;
    const int64_t token = row - frame.samples[sample].begin;
    std::fill_n(scores, across, 1.0f / static_cast<float>(1 + token));
  }
}

void FirstTiles(const PartFrame& frame, RowBlock rows, const TileGrid& grid, double share,
                uint8_t* first) {
  size_t sample = 0;
  const size_t across = grid.Across(frame.width);
  for (size_t r = 0; r < rows.count; r += grid.tokens, first += across) {
    const int64_t row = static_cast<int64_t>(rows.first + r);
    while (row >= frame.samples[sample].begin + frame.samples[sample].tokens) ++sample;
    const SampleRows& rows_of = frame.samples[sample];
    const auto count =
        static_cast<int64_t>(std::ceil(0.01 * share * static_cast<double>(rows_of.tokens)));
    std::memset(first, row - rows_of.begin < count ? 1 : 0, across);
  }
}

}  // namespace isthmus
