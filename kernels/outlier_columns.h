// Outlier columns aside (Dettmers et al., "LLM.int8()", 2022). Internal to kernels/.
//
// A few inputs of some models are dozens of times larger than the rest, and one of them takes the
// whole 8-bit range of its row. A value of magnitude `threshold` and above leaves the row's codes
// and is multiplied in fp32 with the weights that the packed codes restore. Each row decides for
// itself, so that it does not depend on its neighbours.
#ifndef ISTHMUS_KERNELS_OUTLIER_COLUMNS_H_
#define ISTHMUS_KERNELS_OUTLIER_COLUMNS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/packed_matrix.h"
#include "kernels/parallel.h"
#include "kernels/quantized_rows.h"

namespace isthmus {

struct OutlierRows {
  const float* x = nullptr;  // [rows][width]
  int64_t rows = 0;
  int64_t width = 0;
  float threshold = 0.0f;  // > 0
  // Values that are not finite are none: they stay, and make their row's scale NaN.
  bool Has(float v) const { return v - v == 0.0f && (v >= threshold || v <= -threshold); }
};

// Scratch of the two calls, which share it.
int64_t OutlierBytes(int64_t width, int threads);

// QuantizeRows of the values that are no outliers; marks the columns that have one.
QuantizedRows QuantizeInliers(const OutlierRows& x, absl::Span<uint8_t> storage,
                              absl::Span<uint8_t> scratch, ThreadPool* pool);
// y [rows][out] += the outliers times their columns of W, in the order of the columns.
void AddOutliers(const OutlierRows& x, const PackedMatrix& w, absl::Span<uint8_t> scratch,
                 ThreadPool* pool, float* y);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_OUTLIER_COLUMNS_H_
