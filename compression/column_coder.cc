#include "compression/column_coder.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "compression/bit_stream.h"
#include "compression/kernels.h"
#include "compression/scratch.h"
#include "compression/transpose.h"

namespace isthmus {
namespace {

constexpr size_t kFewestRows = 4;  // fewer tokens have no median worth the name
constexpr float kApartFactor = 8.0f;
constexpr GroupFormat kApartFormat{8, true, RangeRule::kMinMax};

GroupFormat ColumnFormat(int bits) { return {bits, false, RangeRule::kMinMax}; }

size_t StreamBytes(size_t rows, absl::Span<const uint8_t> bits) {
  size_t total = 0;
  for (uint8_t b : bits) total += b;
  return PackedBytes(total * rows, 1);
}

}  // namespace

EncodedSize ColumnCoder::Encode(const float* x, size_t rows, absl::Span<const uint8_t> bits,
                                RowNoise* noise, int64_t first_row, Bytes* out, float* decoded) {
  const size_t start = out->size();
  FindTokensApart(x, rows);
  EncodeApart(x, noise, first_row, out, decoded);
  EncodedSize size;
  const size_t rest = rows - apart_.size(), stride = ColumnStride(rest);
  if (rest > 0) {
    float* columns = Room(&columns_, ColumnStride(rest) * width_);
    GatherColumns(x, rows, columns);
    const float* column_noise = noise != nullptr ? GatherNoise(rows, noise, first_row) : nullptr;
    uint8_t* codes = Room(&codes_, rest);
    const size_t parameters = out->size(), stream = StreamBytes(rest, bits);
    out->resize(parameters + 4 * width_ + stream);
    BitPacker packer(out->data() + parameters + 4 * width_);
    for (size_t c = 0; c < width_; ++c) {
      float* column = columns + c * stride;
      const GroupFormat format = ColumnFormat(bits[c]);
      const GroupParameters p = FitColumn(format, column, rest);
      StoreParameters(format, p, out->data() + parameters + 4 * c);
      QuantizeGroup(column, rest, p, column_noise != nullptr ? column_noise + c * stride : nullptr,
                    codes);
      packer.Append(codes, rest, format.bits);
      DequantizeGroup(codes, rest, p, column);
    }
    packer.Flush();
    ScatterColumns(columns, rows, decoded);
    size.payload_bytes = static_cast<int64_t>(stream);
  }
  size.payload_bytes += static_cast<int64_t>(apart_.size() * width_);
  size.side_bytes = static_cast<int64_t>(out->size() - start) - size.payload_bytes;
  return size;
}

bool ColumnCoder::Decode(ByteReader* in, size_t rows, absl::Span<const uint8_t> bits, float* out) {
  if (!DecodeApart(in, rows, out)) return false;
  const size_t rest = rows - apart_.size(), stride = ColumnStride(rest);
  if (rest == 0) return true;
  const auto parameters = in->GetBytes(4 * width_);
  if (!parameters.ok()) return false;
  const auto stream = in->GetBytes(StreamBytes(rest, bits));
  if (!stream.ok()) return false;
  float* columns = Room(&columns_, ColumnStride(rest) * width_);
  uint8_t* codes = Room(&codes_, rest);
  BitUnpacker unpacker(stream->data());
  for (size_t c = 0; c < width_; ++c) {
    GroupParameters p;
    if (!LoadParameters(ColumnFormat(bits[c]), parameters->data() + 4 * c, &p)) return false;
    unpacker.Read(codes, rest, bits[c]);
    DequantizeGroup(codes, rest, p, columns + c * stride);
  }
  ScatterColumns(columns, rows, out);
  return true;
}

void ColumnCoder::FindTokensApart(const float* x, size_t rows) {
  apart_.clear();
  if (rows < kFewestRows) return;
  float* magnitudes = Room(&magnitudes_, rows);
  for (size_t r = 0; r < rows; ++r) {
    magnitudes[r] = std::bit_cast<float>(ScanExtent(x + r * width_, width_).magnitude);
  }
  kept_.assign(magnitudes, magnitudes + rows);
  const auto middle = kept_.begin() + static_cast<std::ptrdiff_t>(rows / 2);
  std::nth_element(kept_.begin(), middle, kept_.end());
  const float limit = kApartFactor * *middle;
  if (limit == 0.0f) return;  // most tokens are zero: gradients of a loss on few positions
  for (size_t r = 0; r < rows; ++r) {
    if (magnitudes[r] > limit) apart_.push_back(static_cast<uint32_t>(r));
  }
  if (apart_.size() > rows / 8 + 1) apart_.clear();
}

void ColumnCoder::EncodeApart(const float* x, RowNoise* noise, int64_t first_row, Bytes* out,
                              float* decoded) {
  ByteWriter writer(out);
  writer.PutVarint(apart_.size());
  uint32_t next = 0;
  for (uint32_t r : apart_) {
    writer.PutVarint(r - next);
    next = r + 1;
  }
  for (uint32_t r : apart_) {
    const size_t at = out->size();
    out->resize(at + 2 + width_);
    const float* row_noise = noise != nullptr ? noise->Row(first_row + r) : nullptr;
    QuantizeRow(x + r * width_, width_, width_, kApartFormat, row_noise, out->data() + at,
                out->data() + at + 2);
    DequantizeRow(out->data() + at + 2, width_, width_, kApartFormat, out->data() + at,
                  decoded + r * width_);
  }
}

bool ColumnCoder::DecodeApart(ByteReader* in, size_t rows, float* out) {
  apart_.clear();
  const auto count = in->GetVarint();
  if (!count.ok() || *count > rows) return false;
  uint64_t next = 0;
  for (uint64_t k = 0; k < *count; ++k) {
    const auto gap = in->GetVarint();
    if (!gap.ok() || *gap >= rows - next) return false;
    apart_.push_back(static_cast<uint32_t>(next + *gap));
    next += *gap + 1;
    if (next == rows && k + 1 < *count) return false;
  }
  for (uint32_t r : apart_) {
    const auto bytes = in->GetBytes(2 + width_);
    if (!bytes.ok()) return false;
    if (!DequantizeRow(bytes->data() + 2, width_, width_, kApartFormat, bytes->data(),
                       out + r * width_))
      return false;
  }
  return true;
}

// The rows that are not apart, transposed.
void ColumnCoder::GatherColumns(const float* x, size_t rows, float* columns) {
  if (apart_.empty()) return RowsToColumns(x, rows, width_, columns);
  const size_t rest = rows - apart_.size();
  float* kept = Room(&kept_, rest * width_);
  size_t to = 0, next = 0;
  for (size_t r = 0; r < rows; ++r) {
    if (next < apart_.size() && apart_[next] == r) {
      ++next;
    } else {
      std::memcpy(kept + width_ * to++, x + r * width_, width_ * sizeof(float));
    }
  }
  RowsToColumns(kept, rest, width_, columns);
}

void ColumnCoder::ScatterColumns(const float* columns, size_t rows, float* out) {
  const size_t rest = rows - apart_.size();
  if (apart_.empty()) return ColumnsToRows(columns, rest, width_, out);
  float* kept = Room(&kept_, rest * width_);
  ColumnsToRows(columns, rest, width_, kept);
  size_t from = 0, next = 0;
  for (size_t r = 0; r < rows; ++r) {
    if (next < apart_.size() && apart_[next] == r) {
      ++next;
    } else {
      std::memcpy(out + r * width_, kept + width_ * from++, width_ * sizeof(float));
    }
  }
}

const float* ColumnCoder::GatherNoise(size_t rows, RowNoise* noise, int64_t first_row) {
  float* by_row = Room(&noise_rows_, rows * width_);
  for (size_t r = 0; r < rows; ++r) {
    std::memcpy(by_row + r * width_, noise->Row(first_row + static_cast<int64_t>(r)),
                width_ * sizeof(float));
  }
  float* by_column = Room(&noise_columns_, ColumnStride(rows - apart_.size()) * width_);
  GatherColumns(by_row, rows, by_column);
  return by_column;
}

GroupParameters ColumnCoder::FitColumn(const GroupFormat& format, const float* column, size_t n) {
  const Extent extent = ScanExtent(column, n);
  const GroupParameters wide = FitRange(format, extent, column, n);
  if (fit_ == Fit::kMinMax || format.bits > 3) return wide;
  GroupFormat rms = format;
  rms.range = RangeRule::kRms;
  const GroupParameters narrow = FitRange(rms, extent, column, n);
  const GroupParameters candidates[] = {wide, narrow, FromRange(format, 0.0f, 0.0f)};
  size_t best = 0;
  float least = SquaredError(column, n, candidates[0]);
  for (size_t k = 1; k < 3; ++k) {
    const float left = SquaredError(column, n, candidates[k]);
    if (left < least) {
      least = left;
      best = k;
    }
  }
  return candidates[best];
}

}  // namespace isthmus
