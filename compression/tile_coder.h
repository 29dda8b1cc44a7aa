// Codes tiles of tokens x channels whose widths of codes may differ.
//
//   parameters of every tile, in row-major order of tiles | codes, one bit stream, row by row of a
//   band of tiles, last byte filled with zeros
#ifndef ISTHMUS_COMPRESSION_TILE_CODER_H_
#define ISTHMUS_COMPRESSION_TILE_CODER_H_

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "compression/group_format.h"
#include "compression/part.h"

namespace isthmus {

class TileCoder {
 public:
  // `format.bits` is the width of every tile where `widths` is null.
  explicit TileCoder(const GroupFormat& format) : format_(format) {}

  // Appends x (rows x width). Returns how many bytes are codes, -1 for a magnitude beyond 2^126.
  int64_t Encode(const TileGrid& grid, const float* x, size_t rows, size_t width,
                 const uint8_t* widths, RowNoise* noise, size_t first_row, Bytes* out);
  // False for bytes that are none.
  bool Decode(const TileGrid& grid, size_t rows, size_t width, const uint8_t* widths,
              ByteReader* in, float* out);

 private:
  void FitTiles(const TileGrid& grid, const float* x, size_t rows, size_t width,
                const uint8_t* widths, Bytes* out);
  size_t CodeBytes(const TileGrid& grid, size_t rows, size_t width, const uint8_t* widths) const;
  GroupFormat FormatOf(const uint8_t* widths, size_t tile) const;
  GroupParameters FitTile(const GroupFormat& format, const float* x, size_t rows, size_t columns,
                          size_t stride);

  GroupFormat format_;
  std::vector<GroupParameters> parameters_;
  std::vector<uint8_t> codes_;
  std::vector<float> gathered_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_TILE_CODER_H_
