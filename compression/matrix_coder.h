// Codes a matrix of rows x width values with one fixed width of codes: groups, stored parameters,
// packed codes.
//
//   parameters of every group, in group order | codes, one bit stream, last byte filled with zeros
//
//   tensor   one group                                  codes by row
//   channel  a group per column over all rows           codes by column
//   token    a group per row                            codes by row
//   tile(n)  n neighbours of a row; a row's last tile holds what is left; tiles never span rows
#ifndef ISTHMUS_COMPRESSION_MATRIX_CODER_H_
#define ISTHMUS_COMPRESSION_MATRIX_CODER_H_

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "compression/group_format.h"
#include "compression/row_noise.h"

namespace isthmus {

enum class Group : uint8_t { kTensor = 0, kChannel = 1, kToken = 2, kTile = 3 };

struct MatrixFormat {
  GroupFormat format;
  Group group = Group::kToken;
  int64_t tile = 64;  // kTile only
};

class MatrixCoder {
 public:
  MatrixCoder(const MatrixFormat& matrix, int64_t width);
  // From now on rows have `width` values.
  void SetWidth(size_t width);

  size_t ParameterBytes(size_t rows) const;
  size_t CodeBytes(size_t rows) const;
  size_t Bytes(size_t rows) const { return ParameterBytes(rows) + CodeBytes(rows); }

  // Writes Bytes(rows) to out. `noise` (begun for the frame) makes rounding stochastic; `first_row`
  // is the frame's row of x's first. False for a value that is not finite: out is then unfinished.
  bool Encode(const float* x, size_t rows, RowNoise* noise, int64_t first_row, uint8_t* out);
  // Reads Bytes(rows). False when a stored parameter is none.
  bool Decode(const uint8_t* in, size_t rows, float* out);

 private:
  size_t NumGroups(size_t rows) const;
  bool EncodeRows(const float* x, size_t rows, RowNoise* noise, int64_t first_row, uint8_t* out);
  bool EncodeColumns(const float* x, size_t rows, RowNoise* noise, int64_t first_row, uint8_t* out);
  bool EncodeTensor(const float* x, size_t rows, RowNoise* noise, int64_t first_row, uint8_t* out);
  bool DecodeRows(const uint8_t* in, size_t rows, float* out);
  bool DecodeColumns(const uint8_t* in, size_t rows, float* out);
  bool DecodeTensor(const uint8_t* in, size_t rows, float* out);

  GroupFormat format_;
  Group group_;
  size_t wanted_tile_;
  size_t width_, tile_;
  std::vector<uint8_t> codes_;  // one row or column
  std::vector<float> columns_;  // group per channel: the transposed matrix
  std::vector<float> noise_, noise_columns_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_MATRIX_CODER_H_
