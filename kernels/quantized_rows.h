// Activations as 8-bit integers: one scale a row (token), from the row's largest magnitude, so that
// a row's codes do not depend on its neighbours. Made once and multiplied with several matrices
// (q, k and v read the same input).
//
// A row that holds a value that is not finite gets scale NaN: the product shows it.
#ifndef ISTHMUS_KERNELS_QUANTIZED_ROWS_H_
#define ISTHMUS_KERNELS_QUANTIZED_ROWS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/parallel.h"

namespace isthmus {

// A view into the storage it was made in.
struct QuantizedRows {
  int64_t rows = 0;
  int64_t width = 0;
  int64_t padded = 0;             // width rounded up to 64; codes behind width are 0
  const int8_t* codes = nullptr;  // [rows][padded]
  const float* scales = nullptr;  // [rows]
};

// Storage for QuantizeRows.
int64_t QuantizedRowsBytes(int64_t rows, int64_t width);

// The arrays of such a view in `storage`, for what quantises on its way (norm.h).
struct QuantizedRowsSpace {
  int8_t* codes = nullptr;  // [rows][padded]
  float* scales = nullptr;  // [rows]
  QuantizedRows view;
};
QuantizedRowsSpace LayQuantizedRows(int64_t rows, int64_t width, absl::Span<uint8_t> storage);

// x [rows][width]. `storage` has at least QuantizedRowsBytes bytes (CHECK) and outlives the result.
QuantizedRows QuantizeRows(const float* x, int64_t rows, int64_t width, absl::Span<uint8_t> storage,
                           ThreadPool* pool = nullptr);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_QUANTIZED_ROWS_H_
