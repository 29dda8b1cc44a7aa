#include "compression/tile_coder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compression/bit_stream.h"
#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

// Visits every row segment of every tile in the order of the code stream.
template <typename Visit>
void ForSegments(const TiledRows& tiled, const Visit& visit) {
  const TileGrid& grid = tiled.grid;
  const size_t across = grid.Across(tiled.width);
  for (size_t r = 0; r < tiled.rows; ++r) {
    const size_t band = r / grid.tokens * across;
    for (size_t k = 0; k < across; ++k) {
      const size_t begin = k * grid.channels;
      visit(band + k, r, begin, std::min(grid.channels, tiled.width - begin));
    }
  }
}

// The code that decodes closest to zero: both ends have the same parameters.
int32_t ZeroCode(const GroupParameters& p) {
  const float code = std::clamp((0.0f - p.from) * p.inverse + p.offset, 0.0f, p.top);
  return static_cast<int32_t>(std::nearbyintf(code));
}

}  // namespace

GroupFormat TileCoder::FormatOf(const uint8_t* widths, size_t tile) const {
  GroupFormat format = format_;
  if (widths != nullptr) format.bits = widths[tile];
  return format;
}

size_t TileCoder::CodeBytes(const TiledRows& tiled) const {
  if (tiled.widths == nullptr) return PackedBytes(tiled.rows * tiled.width, format_.bits);
  size_t bits = 0;
  ForSegments(tiled,
              [&](size_t tile, size_t, size_t, size_t n) { bits += n * tiled.widths[tile]; });
  return (bits + 7) / 8;
}

// A tile of one token is contiguous; others are gathered for the range rules that read values.
GroupParameters TileCoder::FitTile(const GroupFormat& format, const float* x, size_t rows,
                                   size_t columns, size_t stride) {
  if (rows == 1) return FitRange(format, ScanExtent(x, columns), x, columns);
  float* values = Room(&gathered_, rows * columns);
  for (size_t r = 0; r < rows; ++r)
    std::memcpy(values + r * columns, x + r * stride, columns * sizeof(float));
  return FitRange(format, ScanExtent(values, rows * columns), values, rows * columns);
}

void TileCoder::FitTiles(const TiledRows& tiled, const float* x, Bytes* out) {
  const TileGrid& grid = tiled.grid;
  const size_t tiles = grid.Count(tiled.rows, tiled.width), bytes = format_.ParameterBytes();
  GroupParameters* parameters = Room(&parameters_, tiles);
  size_t at = out->size();
  out->resize(at + tiles * bytes);
  size_t tile = 0;
  for (size_t r = 0; r < tiled.rows; r += grid.tokens) {
    const size_t down = std::min(grid.tokens, tiled.rows - r);
    for (size_t begin = 0; begin < tiled.width; begin += grid.channels, ++tile, at += bytes) {
      const size_t columns = std::min(grid.channels, tiled.width - begin);
      const GroupFormat format = FormatOf(tiled.widths, tile);
      parameters[tile] = FitTile(format, x + r * tiled.width + begin, down, columns, tiled.width);
      StoreParameters(format, parameters[tile], out->data() + at);
    }
  }
}

int64_t TileCoder::Encode(const TiledRows& tiled, const float* x, RowNoise* noise, size_t first_row,
                          Bytes* out) {
  if (ScanExtent(x, tiled.rows * tiled.width).magnitude > kLargestMagnitude) return -1;
  FitTiles(tiled, x, out);
  return EncodeCodes(tiled, parameters_.data(), x, noise, first_row, out);
}

int64_t TileCoder::EncodeCodes(const TiledRows& tiled, const GroupParameters* parameters,
                               const float* x, RowNoise* noise, size_t first_row, Bytes* out) {
  if (entropy_) return EncodeSymbols(tiled, parameters, x, noise, first_row, out);
  const size_t at = out->size(), code_bytes = CodeBytes(tiled);
  out->resize(at + code_bytes);
  uint8_t* codes = Room(&codes_, std::min(tiled.grid.channels, tiled.width));
  const float* row_noise = nullptr;
  BitPacker packer(out->data() + at);
  ForSegments(tiled, [&](size_t tile, size_t r, size_t begin, size_t n) {
    if (noise != nullptr && begin == 0) row_noise = noise->Row(static_cast<int64_t>(first_row + r));
    QuantizeGroup(x + r * tiled.width + begin, n, parameters[tile],
                  row_noise != nullptr ? row_noise + begin : nullptr, codes);
    packer.Append(codes, n, tiled.widths != nullptr ? tiled.widths[tile] : format_.bits);
  });
  packer.Flush();
  return static_cast<int64_t>(code_bytes);
}

bool TileCoder::Decode(const TiledRows& tiled, ByteReader* in, float* out) {
  const size_t tiles = tiled.grid.Count(tiled.rows, tiled.width), bytes = format_.ParameterBytes();
  const auto stored = in->GetBytes(tiles * bytes);
  if (!stored.ok()) return false;
  GroupParameters* parameters = Room(&parameters_, tiles);
  for (size_t tile = 0; tile < tiles; ++tile) {
    if (!LoadParameters(FormatOf(tiled.widths, tile), stored->data() + tile * bytes,
                        &parameters[tile]))
      return false;
  }
  return DecodeCodes(tiled, parameters, in, out);
}

bool TileCoder::DecodeCodes(const TiledRows& tiled, const GroupParameters* parameters,
                            ByteReader* in, float* out) {
  if (entropy_) return DecodeSymbols(tiled, parameters, in, out);
  const auto packed = in->GetBytes(CodeBytes(tiled));
  if (!packed.ok()) return false;
  uint8_t* codes = Room(&codes_, std::min(tiled.grid.channels, tiled.width));
  BitUnpacker unpacker(packed->data());
  ForSegments(tiled, [&](size_t tile, size_t r, size_t begin, size_t n) {
    unpacker.Read(codes, n, tiled.widths != nullptr ? tiled.widths[tile] : format_.bits);
    DequantizeGroup(codes, n, parameters[tile], out + r * tiled.width + begin);
  });
  return true;
}

// Codes of different widths have different sizes: each width has its own table.
const uint8_t* TileCoder::ClassesOf(const TiledRows& tiled) {
  if (tiled.widths == nullptr) return nullptr;
  uint8_t* classes = Room(&classes_, tiled.rows * tiled.width);
  ForSegments(tiled, [&](size_t tile, size_t r, size_t begin, size_t n) {
    std::memset(classes + r * tiled.width + begin, tiled.widths[tile] - 1, n);
  });
  return classes;
}

int64_t TileCoder::EncodeSymbols(const TiledRows& tiled, const GroupParameters* parameters,
                                 const float* x, RowNoise* noise, size_t first_row, Bytes* out) {
  uint32_t* symbols = Room(&symbols_, tiled.rows * tiled.width);
  uint8_t* codes = Room(&codes_, std::min(tiled.grid.channels, tiled.width));
  const float* row_noise = nullptr;
  ForSegments(tiled, [&](size_t tile, size_t r, size_t begin, size_t n) {
    if (noise != nullptr && begin == 0) row_noise = noise->Row(static_cast<int64_t>(first_row + r));
    const size_t at = r * tiled.width + begin;
    QuantizeGroup(x + at, n, parameters[tile], row_noise != nullptr ? row_noise + begin : nullptr,
                  codes);
    const int32_t zero = ZeroCode(parameters[tile]);
    for (size_t i = 0; i < n; ++i) symbols[at + i] = ZigZag(codes[i] - zero);
  });
  return coder_.Encode(symbols, ClassesOf(tiled), tiled.rows, tiled.width, out);
}

bool TileCoder::DecodeSymbols(const TiledRows& tiled, const GroupParameters* parameters,
                              ByteReader* in, float* out) {
  uint32_t* symbols = Room(&symbols_, tiled.rows * tiled.width);
  if (!coder_.Decode(in, ClassesOf(tiled), tiled.rows, tiled.width, symbols)) return false;
  uint8_t* codes = Room(&codes_, std::min(tiled.grid.channels, tiled.width));
  bool good = true;
  ForSegments(tiled, [&](size_t tile, size_t r, size_t begin, size_t n) {
    const GroupParameters& p = parameters[tile];
    const int32_t zero = ZeroCode(p), top = static_cast<int32_t>(p.top);
    const size_t at = r * tiled.width + begin;
    for (size_t i = 0; i < n; ++i) {
      const int32_t code = zero + UnZigZag(symbols[at + i]);
      good = good && code >= 0 && code <= top;
      codes[i] = static_cast<uint8_t>(code);
    }
    DequantizeGroup(codes, n, p, out + at);
  });
  return good;
}

}  // namespace isthmus
