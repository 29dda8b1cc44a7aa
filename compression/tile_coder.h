// Codes tiles of tokens x channels whose widths of codes may differ.
//
//   parameters of every tile, in row-major order of tiles | codes
//   codes: one bit stream, row by row of a band of tiles, last byte filled with zeros; or, with an
//   entropy coder, SymbolCoder bytes of their zigzag distances from the code next to zero
#ifndef ISTHMUS_COMPRESSION_TILE_CODER_H_
#define ISTHMUS_COMPRESSION_TILE_CODER_H_

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "compression/group_format.h"
#include "compression/part.h"
#include "compression/symbol_coder.h"

namespace isthmus {

// A matrix and how it is cut. `widths` of the tiles' codes; null: the format's own for all.
struct TiledRows {
  TileGrid grid;
  size_t rows;
  size_t width;
  const uint8_t* widths;
};

class TileCoder {
 public:
  // `format.bits` is the width of every tile where a matrix has none.
  explicit TileCoder(const GroupFormat& format) : format_(format) {}
  void UseEntropyCoder() { entropy_ = true; }

  // Appends x (rows x width). Returns how many bytes are codes, -1 for a magnitude beyond 2^126.
  int64_t Encode(const TiledRows& tiled, const float* x, RowNoise* noise, size_t first_row,
                 Bytes* out);
  // False for bytes that are none.
  bool Decode(const TiledRows& tiled, ByteReader* in, float* out);

  // The codes alone, by parameters of the tiles that both ends have.
  int64_t EncodeCodes(const TiledRows& tiled, const GroupParameters* parameters, const float* x,
                      RowNoise* noise, size_t first_row, Bytes* out);
  bool DecodeCodes(const TiledRows& tiled, const GroupParameters* parameters, ByteReader* in,
                   float* out);

 private:
  void FitTiles(const TiledRows& tiled, const float* x, Bytes* out);
  size_t CodeBytes(const TiledRows& tiled) const;
  GroupFormat FormatOf(const uint8_t* widths, size_t tile) const;
  GroupParameters FitTile(const GroupFormat& format, const float* x, size_t rows, size_t columns,
                          size_t stride);
  const uint8_t* ClassesOf(const TiledRows& tiled);
  int64_t EncodeSymbols(const TiledRows& tiled, const GroupParameters* parameters, const float* x,
                        RowNoise* noise, size_t first_row, Bytes* out);
  bool DecodeSymbols(const TiledRows& tiled, const GroupParameters* parameters, ByteReader* in,
                     float* out);

  GroupFormat format_;
  bool entropy_ = false;
  std::vector<GroupParameters> parameters_;
  std::vector<uint8_t> codes_;
  std::vector<float> gathered_;
  SymbolCoder coder_;
  std::vector<uint32_t> symbols_;
  std::vector<uint8_t> classes_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_TILE_CODER_H_
