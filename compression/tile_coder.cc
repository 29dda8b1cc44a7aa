#include "compression/tile_coder.h"

#include <algorithm>
#include <cstring>

#include "compression/bit_stream.h"
#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

// Visits every row segment of every tile in the order of the code stream.
template <typename Visit>
void ForSegments(const TileGrid& grid, size_t rows, size_t width, const Visit& visit) {
  const size_t across = grid.Across(width);
  for (size_t r = 0; r < rows; ++r) {
    const size_t band = r / grid.tokens * across;
    for (size_t k = 0; k < across; ++k) {
      const size_t begin = k * grid.channels;
      visit(band + k, r, begin, std::min(grid.channels, width - begin));
    }
  }
}

}  // namespace

GroupFormat TileCoder::FormatOf(const uint8_t* widths, size_t tile) const {
  GroupFormat format = format_;
  if (widths != nullptr) format.bits = widths[tile];
  return format;
}

size_t TileCoder::CodeBytes(const TileGrid& grid, size_t rows, size_t width,
                            const uint8_t* widths) const {
  if (widths == nullptr) return PackedBytes(rows * width, format_.bits);
  size_t bits = 0;
  ForSegments(grid, rows, width,
              [&](size_t tile, size_t, size_t, size_t n) { bits += n * widths[tile]; });
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

void TileCoder::FitTiles(const TileGrid& grid, const float* x, size_t rows, size_t width,
                         const uint8_t* widths, Bytes* out) {
  const size_t tiles = grid.Count(rows, width), bytes = format_.ParameterBytes();
  GroupParameters* parameters = Room(&parameters_, tiles);
  size_t at = out->size();
  out->resize(at + tiles * bytes);
  size_t tile = 0;
  for (size_t r = 0; r < rows; r += grid.tokens) {
    const size_t down = std::min(grid.tokens, rows - r);
    for (size_t begin = 0; begin < width; begin += grid.channels, ++tile, at += bytes) {
      const size_t columns = std::min(grid.channels, width - begin);
      const GroupFormat format = FormatOf(widths, tile);
      parameters[tile] = FitTile(format, x + r * width + begin, down, columns, width);
      StoreParameters(format, parameters[tile], out->data() + at);
    }
  }
}

int64_t TileCoder::Encode(const TileGrid& grid, const float* x, size_t rows, size_t width,
                          const uint8_t* widths, RowNoise* noise, size_t first_row, Bytes* out) {
  if (ScanExtent(x, rows * width).magnitude > kLargestMagnitude) return -1;
  FitTiles(grid, x, rows, width, widths, out);
  const size_t at = out->size(), code_bytes = CodeBytes(grid, rows, width, widths);
  out->resize(at + code_bytes);
  uint8_t* codes = Room(&codes_, std::min(grid.channels, width));
  const float* row_noise = nullptr;
  BitPacker packer(out->data() + at);
  ForSegments(grid, rows, width, [&](size_t tile, size_t r, size_t begin, size_t n) {
    if (noise != nullptr && begin == 0) row_noise = noise->Row(static_cast<int64_t>(first_row + r));
    QuantizeGroup(x + r * width + begin, n, parameters_[tile],
                  row_noise != nullptr ? row_noise + begin : nullptr, codes);
    packer.Append(codes, n, widths != nullptr ? widths[tile] : format_.bits);
  });
  packer.Flush();
  return static_cast<int64_t>(code_bytes);
}

bool TileCoder::Decode(const TileGrid& grid, size_t rows, size_t width, const uint8_t* widths,
                       ByteReader* in, float* out) {
  const size_t tiles = grid.Count(rows, width), bytes = format_.ParameterBytes();
  const auto stored = in->GetBytes(tiles * bytes);
  if (!stored.ok()) return false;
  const auto packed = in->GetBytes(CodeBytes(grid, rows, width, widths));
  if (!packed.ok()) return false;
  GroupParameters* parameters = Room(&parameters_, tiles);
  for (size_t tile = 0; tile < tiles; ++tile) {
    if (!LoadParameters(FormatOf(widths, tile), stored->data() + tile * bytes, &parameters[tile]))
      return false;
  }
  uint8_t* codes = Room(&codes_, std::min(grid.channels, width));
  BitUnpacker unpacker(packed->data());
  ForSegments(grid, rows, width, [&](size_t tile, size_t r, size_t begin, size_t n) {
    unpacker.Read(codes, n, widths != nullptr ? widths[tile] : format_.bits);
    DequantizeGroup(codes, n, parameters[tile], out + r * width + begin);
  });
  return true;
}

}  // namespace isthmus
