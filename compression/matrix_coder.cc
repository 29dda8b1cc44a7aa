#include "compression/matrix_coder.h"

#include <algorithm>
#include <cstring>

#include "compression/bit_stream.h"
#include "compression/frame_check.h"
#include "compression/scratch.h"
#include "compression/transpose.h"

namespace isthmus {

MatrixCoder::MatrixCoder(const MatrixFormat& matrix, int64_t width)
    : format_(matrix.format), group_(matrix.group), wanted_tile_(static_cast<size_t>(matrix.tile)) {
  SetWidth(static_cast<size_t>(width));
}

void MatrixCoder::SetWidth(size_t width) {
  width_ = width;
  tile_ = group_ == Group::kTile ? std::min(wanted_tile_, width) : width;
}

size_t MatrixCoder::NumGroups(size_t rows) const {
  switch (group_) {
    case Group::kTensor:
      return rows > 0 ? 1 : 0;
    case Group::kChannel:
      return rows > 0 ? width_ : 0;
    default:
      return rows * NumTiles(width_, tile_);
  }
}

size_t MatrixCoder::ParameterBytes(size_t rows) const {
  return NumGroups(rows) * format_.ParameterBytes();
}
size_t MatrixCoder::CodeBytes(size_t rows) const {
  return PackedBytes(rows * width_, format_.bits);
}

bool MatrixCoder::Encode(const float* x, size_t rows, RowNoise* noise, int64_t first_row,
                         uint8_t* out) {
  if (rows == 0) return true;
  if (group_ == Group::kChannel) return EncodeColumns(x, rows, noise, first_row, out);
  if (group_ == Group::kTensor) return EncodeTensor(x, rows, noise, first_row, out);
  return EncodeRows(x, rows, noise, first_row, out);
}

bool MatrixCoder::Decode(const uint8_t* in, size_t rows, float* out) {
  if (rows == 0) return true;
  if (group_ == Group::kChannel) return DecodeColumns(in, rows, out);
  if (group_ == Group::kTensor) return DecodeTensor(in, rows, out);
  return DecodeRows(in, rows, out);
}

bool MatrixCoder::EncodeRows(const float* x, size_t rows, RowNoise* noise, int64_t first_row,
                             uint8_t* out) {
  const size_t row_parameters = NumTiles(width_, tile_) * format_.ParameterBytes();
  uint8_t* codes_out = out + ParameterBytes(rows);
  const bool bytes = format_.bits == 8;  // codes are their own stream
  uint8_t* codes = bytes ? nullptr : Room(&codes_, width_);
  BitPacker packer(codes_out);
  for (size_t r = 0; r < rows; ++r, out += row_parameters) {
    const float* row_noise =
        noise != nullptr ? noise->Row(first_row + static_cast<int64_t>(r)) : nullptr;
    uint8_t* to = bytes ? codes_out + r * width_ : codes;
    if (QuantizeRow(x + r * width_, width_, tile_, format_, row_noise, out, to) > kLargestMagnitude)
      return false;
    if (!bytes) packer.Append(codes, width_, format_.bits);
  }
  if (!bytes) packer.Flush();
  return true;
}

bool MatrixCoder::DecodeRows(const uint8_t* in, size_t rows, float* out) {
  const size_t row_parameters = NumTiles(width_, tile_) * format_.ParameterBytes();
  const uint8_t* codes_in = in + ParameterBytes(rows);
  const bool bytes = format_.bits == 8;
  uint8_t* codes = bytes ? nullptr : Room(&codes_, width_);
  BitUnpacker unpacker(codes_in);
  for (size_t r = 0; r < rows; ++r, in += row_parameters) {
    if (!bytes) unpacker.Read(codes, width_, format_.bits);
    const uint8_t* from = bytes ? codes_in + r * width_ : codes;
    if (!DequantizeRow(from, width_, tile_, format_, in, out + r * width_)) return false;
  }
  return true;
}

bool MatrixCoder::EncodeColumns(const float* x, size_t rows, RowNoise* noise, int64_t first_row,
                                uint8_t* out) {
  const size_t stride = ColumnStride(rows);
  float* columns = Room(&columns_, stride * width_);
  RowsToColumns(x, rows, width_, columns);
  const float* column_noise = nullptr;
  if (noise != nullptr) {
    float* by_row = Room(&noise_, rows * width_);
    for (size_t r = 0; r < rows; ++r) {
      std::memcpy(by_row + r * width_, noise->Row(first_row + static_cast<int64_t>(r)),
                  width_ * sizeof(float));
    }
    float* by_column = Room(&noise_columns_, stride * width_);
    RowsToColumns(by_row, rows, width_, by_column);
    column_noise = by_column;
  }
  uint8_t* codes = Room(&codes_, rows);
  BitPacker packer(out + ParameterBytes(rows));
  for (size_t c = 0; c < width_; ++c, out += format_.ParameterBytes()) {
    const float* with = column_noise != nullptr ? column_noise + c * stride : nullptr;
    if (QuantizeRow(columns + c * stride, rows, rows, format_, with, out, codes) >
        kLargestMagnitude)
      return false;
    packer.Append(codes, rows, format_.bits);
  }
  packer.Flush();
  return true;
}

bool MatrixCoder::DecodeColumns(const uint8_t* in, size_t rows, float* out) {
  const size_t stride = ColumnStride(rows);
  float* columns = Room(&columns_, stride * width_);
  uint8_t* codes = Room(&codes_, rows);
  BitUnpacker unpacker(in + ParameterBytes(rows));
  for (size_t c = 0; c < width_; ++c, in += format_.ParameterBytes()) {
    unpacker.Read(codes, rows, format_.bits);
    if (!DequantizeRow(codes, rows, rows, format_, in, columns + c * stride)) return false;
  }
  ColumnsToRows(columns, rows, width_, out);
  return true;
}

bool MatrixCoder::EncodeTensor(const float* x, size_t rows, RowNoise* noise, int64_t first_row,
                               uint8_t* out) {
  const Extent extent = ScanExtent(x, rows * width_);
  if (extent.magnitude > kLargestMagnitude) return false;
  const GroupParameters parameters = FitRange(format_, extent, x, rows * width_);
  StoreParameters(format_, parameters, out);
  uint8_t* codes = Room(&codes_, width_);
  BitPacker packer(out + ParameterBytes(rows));
  for (size_t r = 0; r < rows; ++r) {
    const float* row_noise =
        noise != nullptr ? noise->Row(first_row + static_cast<int64_t>(r)) : nullptr;
    QuantizeGroup(x + r * width_, width_, parameters, row_noise, codes);
    packer.Append(codes, width_, format_.bits);
  }
  packer.Flush();
  return true;
}

bool MatrixCoder::DecodeTensor(const uint8_t* in, size_t rows, float* out) {
  GroupParameters parameters;
  if (!LoadParameters(format_, in, &parameters)) return false;
  uint8_t* codes = Room(&codes_, width_);
  BitUnpacker unpacker(in + ParameterBytes(rows));
  for (size_t r = 0; r < rows; ++r) {
    unpacker.Read(codes, width_, format_.bits);
    DequantizeGroup(codes, width_, parameters, out + r * width_);
  }
  return true;
}

}  // namespace isthmus
