// What a policy may know of a tile: one number each, the larger the more bits it should have. Only
// the sender scores, except by position, which both ends derive.
#ifndef ISTHMUS_COMPRESSION_TILE_SCORES_H_
#define ISTHMUS_COMPRESSION_TILE_SCORES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "compression/part.h"

namespace isthmus {

// kRange     max - min
// kEntropy   -sum p ln p with p = |x| / sum |x| (TAH-Quant; high entropy = evenly spread values,
//            which waste no range)
// kOutlier   largest magnitude over RMS: 1 to sqrt(values)
// kPosition  nearness to the sample's first token (STaMP's pinned coefficients)
// kError     squared error of min-max quantisation, measured at every width
enum class TileScore : uint8_t { kRange, kEntropy, kOutlier, kPosition, kError };
const std::vector<std::string>& TileScoreWords();

// scores[tile] of a block. Not for kPosition and kError.
void ScoreTiles(TileScore score, const PartFrame& frame, RowBlock rows, const TileGrid& grid,
                const float* x, float* scores);

// errors[8 * tile + b - 1]: what b bits leave of the tile's energy; measured (kError) or as a
// uniform quantiser of that range leaves it (kRange).
void TileErrors(TileScore score, const PartFrame& frame, RowBlock rows, const TileGrid& grid,
                const float* x, float* errors);

// By position: whether the tile is among the first `share` percent of its sample's tokens, rounded
// up.
void FirstTiles(const PartFrame& frame, RowBlock rows, const TileGrid& grid, double share,
                uint8_t* first);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_TILE_SCORES_H_
