// Codes a matrix of rows x width values with a width of codes per channel (column): what AQ-SGD's
// deltas and AMAQ's gated activations share.
//
//   varint K | K gaps (varint) | K x (scale bf16 | width codes)      tokens apart: symmetric 8
//   bits, one scale each width x (lo bf16 | scale bf16)                                   channels
//   over the other rows - K tokens one bit stream: channel 0's rows - K codes of bits[0], channel
//   1's …      last byte filled with zeros
//
// A token whose largest magnitude is more than 8 times the median token's is coded apart: one sink
// token (100 to 1000 times the rest in trained decoders) would otherwise set the range of its
// channels and leave every other token one level. Where more than one token in eight stands out,
// that is the distribution and nothing is coded apart.
#ifndef ISTHMUS_COMPRESSION_COLUMN_CODER_H_
#define ISTHMUS_COMPRESSION_COLUMN_CODER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"
#include "compression/codec.h"
#include "compression/group_format.h"
#include "compression/row_noise.h"

namespace isthmus {

class ColumnCoder {
 public:
  // kMinMax: every value inside the range. kLeastError: of min-max, RMS and "no change" (all values
  // decode to 0) the one with the least squared error, so that what is left is never more than what
  // came in; for 3 bits and fewer.
  enum class Fit : uint8_t { kMinMax, kLeastError };

  ColumnCoder(int64_t width, Fit fit) : width_(static_cast<size_t>(width)), fit_(fit) {}

  // Appends the code of finite x (rows x width, magnitudes up to 2^126) and writes what the other
  // end decodes to `decoded`. bits[c] is 1 to 8. `noise`, begun for the frame, makes rounding
  // stochastic; `first_row` is the frame's row of x's first.
  EncodedSize Encode(const float* x, size_t rows, absl::Span<const uint8_t> bits, RowNoise* noise,
                     int64_t first_row, Bytes* out, float* decoded);
  // Reads one matrix. False when the bytes are not one; `out` is then unfinished.
  bool Decode(ByteReader* in, size_t rows, absl::Span<const uint8_t> bits, float* out);

  // Which rows the last Encode or Decode coded apart, rising.
  absl::Span<const uint32_t> tokens_apart() const { return apart_; }

 private:
  void FindTokensApart(const float* x, size_t rows);
  void EncodeApart(const float* x, RowNoise* noise, int64_t first_row, Bytes* out, float* decoded);
  bool DecodeApart(ByteReader* in, size_t rows, float* out);
  void GatherColumns(const float* x, size_t rows, float* columns);
  void ScatterColumns(const float* columns, size_t rows, float* out);
  const float* GatherNoise(size_t rows, RowNoise* noise, int64_t first_row);
  GroupParameters FitColumn(const GroupFormat& format, const float* column, size_t n);

  size_t width_;
  Fit fit_;
  std::vector<uint32_t> apart_;
  std::vector<float> magnitudes_, kept_, columns_, noise_rows_, noise_columns_;
  std::vector<uint8_t> codes_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_COLUMN_CODER_H_
