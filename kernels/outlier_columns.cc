#include "kernels/outlier_columns.h"

#include <algorithm>
#include <cstring>

#include "kernels/scratch.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

// Which columns have an outlier, then factors of one row a thread: 0 for an outlier, else 1.
struct Pieces {
  Pieces(absl::Span<uint8_t> scratch, int64_t width, int threads) {
    ScratchPieces pieces(scratch);
    marks = pieces.Take<uint8_t>(width);
    factors = pieces.Take<float>(width * threads);
  }
  uint8_t* marks;
  float* factors;
};

bool FillFactors(const OutlierRows& x, const float* row, float* factors) {
  bool any = false;
  for (int64_t k = 0; k < x.width; ++k) {
    const bool outlier = x.Has(row[k]);
    factors[k] = outlier ? 0.0f : 1.0f;
    any |= outlier;
  }
  return any;
}

void MarkColumns(const OutlierRows& x, uint8_t* marks) {
  std::memset(marks, 0, static_cast<size_t>(x.width));
  for (int64_t m = 0; m < x.rows; ++m) {
    const float* row = x.x + m * x.width;
    for (int64_t k = 0; k < x.width; ++k) marks[k] |= static_cast<uint8_t>(x.Has(row[k]));
  }
}

}  // namespace

int64_t OutlierBytes(int64_t width, int threads) {
  return ScratchPieces::Bytes<uint8_t>(width) + ScratchPieces::Bytes<float>(width * threads);
}

QuantizedRows QuantizeInliers(const OutlierRows& x, absl::Span<uint8_t> storage,
                              absl::Span<uint8_t> scratch, ThreadPool* pool) {
  const Pieces pieces(scratch, x.width, NumThreads(pool));
  MarkColumns(x, pieces.marks);
  const QuantizedRowsSpace space = LayQuantizedRows(x.rows, x.width, storage);
  const KernelTable& kernels = KernelsFor(x.rows);
  ParallelFor(pool, x.rows, [&](int64_t m, int thread) {
    const float* row = x.x + m * x.width;
    float* factors = pieces.factors + thread * x.width;
    const bool any = FillFactors(x, row, factors);
    kernels.quantize_row(row, any ? factors : nullptr, x.width, space.view.padded, x.width,
                         space.codes + m * space.view.padded, space.scales + m);
  });
  return space.view;
}

// A panel at a time: each marked column of it is restored once for all rows.
void AddOutliers(const OutlierRows& x, const PackedMatrix& w, absl::Span<uint8_t> scratch,
                 ThreadPool* pool, float* y) {
  const Pieces pieces(scratch, x.width, NumThreads(pool));
  ParallelFor(pool, (w.out() + kPanel - 1) / kPanel, [&](int64_t panel, int) {
    const int64_t first = panel * kPanel;
    const int64_t count = std::min<int64_t>(kPanel, w.out() - first);
    float column[kPanel];
    for (int64_t k = 0; k < x.width; ++k) {
      if (pieces.marks[k] == 0) continue;
      for (int64_t n = 0; n < count; ++n) column[n] = w.At(first + n, k);
      for (int64_t m = 0; m < x.rows; ++m) {
        const float v = x.x[m * x.width + k];
        if (!x.Has(v)) continue;
        float* to = y + m * w.out() + first;
        for (int64_t n = 0; n < count; ++n) to[n] += v * column[n];
      }
    }
  });
}

}  // namespace isthmus
