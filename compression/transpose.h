// out[c][r] = in[r][c], in blocks of 16 x 16 so that both sides stay in the first-level cache.
#ifndef ISTHMUS_COMPRESSION_TRANSPOSE_H_
#define ISTHMUS_COMPRESSION_TRANSPOSE_H_

#include <algorithm>
#include <cstddef>

namespace isthmus {

inline void Transpose(const float* in, size_t rows, size_t columns, float* out) {
  constexpr size_t kBlock = 16;
  for (size_t r0 = 0; r0 < rows; r0 += kBlock) {
    const size_t r1 = std::min(rows, r0 + kBlock);
    for (size_t c0 = 0; c0 < columns; c0 += kBlock) {
      const size_t c1 = std::min(columns, c0 + kBlock);
      for (size_t r = r0; r < r1; ++r)
        for (size_t c = c0; c < c1; ++c) out[c * rows + r] = in[r * columns + c];
    }
  }
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_TRANSPOSE_H_
