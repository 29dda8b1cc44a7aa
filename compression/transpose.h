// Rows to columns and back. The columns' side has a stride that is not a multiple of 4 KiB, so that
// 16 columns of a long frame do not fall on the same lines of the first-level cache; the rows' side
// is walked along its lines.
#ifndef ISTHMUS_COMPRESSION_TRANSPOSE_H_
#define ISTHMUS_COMPRESSION_TRANSPOSE_H_

#include <algorithm>
#include <cstddef>

namespace isthmus {

// Floats from one column to the next for columns of `rows` values: an odd number of 64-byte lines.
inline size_t ColumnStride(size_t rows) { return ((rows + 15) / 16 | 1) * 16; }

// columns[c * stride + r] = rows_in[r * width + c]
inline void RowsToColumns(const float* rows_in, size_t rows, size_t width, float* columns) {
  constexpr size_t kBlock = 16;
  const size_t stride = ColumnStride(rows);
  for (size_t r0 = 0; r0 < rows; r0 += kBlock) {
    const size_t r1 = std::min(rows, r0 + kBlock);
    for (size_t c0 = 0; c0 < width; c0 += kBlock) {
      const size_t c1 = std::min(width, c0 + kBlock);
      for (size_t r = r0; r < r1; ++r)
        for (size_t c = c0; c < c1; ++c) columns[c * stride + r] = rows_in[r * width + c];
    }
  }
}

// rows_out[r * width + c] = columns[c * stride + r]
inline void ColumnsToRows(const float* columns, size_t rows, size_t width, float* rows_out) {
  constexpr size_t kBlock = 16;
  const size_t stride = ColumnStride(rows);
  for (size_t r0 = 0; r0 < rows; r0 += kBlock) {
    const size_t r1 = std::min(rows, r0 + kBlock);
    for (size_t c0 = 0; c0 < width; c0 += kBlock) {
      const size_t c1 = std::min(width, c0 + kBlock);
      for (size_t r = r0; r < r1; ++r)
        for (size_t c = c0; c < c1; ++c) rows_out[r * width + c] = columns[c * stride + r];
    }
  }
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_TRANSPOSE_H_
