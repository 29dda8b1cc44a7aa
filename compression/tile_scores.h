// What a policy may know of a tile: one number each, the larger the more bits it should have. Only
// the sender scores, except by position, which both ends derive.
#ifndef ISTHMUS_COMPRESSION_TILE_SCORES_H_
#define ISTHMUS_COMPRESSION_TILE_SCORES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "compression/group_format.h"
#include "compression/part.h"

namespace isthmus {

// kRange     max - min
// kEntropy   -sum p ln p with p = |x| / sum |x| (TAH-Quant; high entropy = evenly spread values,
//            which waste no range)
// kOutlier   largest magnitude over RMS: 1 to sqrt(values)
// kPosition  1 / (1 + token of its sample): STaMP's pinned coefficients
// kError     squared error of min-max quantisation, measured
// kLoss      the same, each channel's times what it is worth to the loss (gradient_squares.h)
enum class TileScore : uint8_t { kRange, kEntropy, kOutlier, kPosition, kError, kLoss };
const std::vector<std::string>& TileScoreWords();
// Scores that are errors, by width; the others are one number a tile.
inline bool IsError(TileScore score) {
  return score == TileScore::kError || score == TileScore::kLoss;
}

// Scores the tiles of a block of rows.
class TileScorer {
 public:
  explicit TileScorer(TileScore score) : score_(score) {}

  // For kLoss: what each channel is worth, 1 in the mean. All alike until then.
  void SetWorth(const std::vector<double>& worth);

  // errors[8 * tile + b - 1] for the widths b of the set (bit b): what b bits leave. Measured for
  // errors; by range as a uniform quantiser leaves it; the other scores count as the variance of a
  // value, of which a bit leaves a quarter.
  void Errors(const PartFrame& frame, RowBlock rows, const TileGrid& grid, const float* x,
              uint32_t widths, float* errors);
  // scores[tile]: how much `high` bits are worth beside `low`. Errors: what they remove, by value.
  void Scores(const PartFrame& frame, RowBlock rows, const TileGrid& grid, const float* x, int low,
              int high, float* scores);

 private:
  float Measure(const float* x, size_t down, size_t across, size_t stride, size_t channel,
                const GroupParameters& parameters) const;

  TileScore score_;
  std::vector<float> worth_;
  std::vector<float> errors_, squares_;
};

// scores[tile] by position; both ends derive it.
void PositionScores(const PartFrame& frame, RowBlock rows, const TileGrid& grid, float* scores);
// Whether the tile is among the first `share` percent of its sample's tokens, rounded up.
void FirstTiles(const PartFrame& frame, RowBlock rows, const TileGrid& grid, double share,
                uint8_t* first);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_TILE_SCORES_H_
