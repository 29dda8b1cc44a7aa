// Units of a product, one panel of 64 columns x up to kRowBlock rows each, and what a thread needs
// to compute one. Internal to kernels/.
#ifndef ISTHMUS_KERNELS_MATMUL_UNIT_H_
#define ISTHMUS_KERNELS_MATMUL_UNIT_H_

#include <algorithm>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/parallel.h"

namespace isthmus {

struct alignas(64) UnitScratch {
  union {
    int8_t staged[kBlock * kPanel];
    float staged_f32[kBlockF32 * kPanel];
  };
  float scales[kBlock / 32 * kPanel];
  float acc[kRowBlock * kPanel];
  float rows[kRowBlock * kBlockF32];  // a transposed operand of MatmulF32
};

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// y rows m0.., columns of `panel`: y = acc * row scale (+ y).
inline void WriteUnit(const KernelTable& kernels, const float* acc, int64_t panel, int64_t m0,
                      int rows, int64_t out, const float* row_scales, bool add, float* y) {
  const int64_t n0 = panel * kPanel;
  kernels.write(acc, row_scales == nullptr ? nullptr : row_scales + m0, rows,
                static_cast<int>(std::min<int64_t>(kPanel, out - n0)), out, add, y + m0 * out + n0);
}

// Calls unit(panel, first row, rows, thread) for every unit of a product: all panels of one block
// of rows before the next, so that the rows stay in L2 (1 MiB at a depth of 4096) while weights
// stream.
template <typename Unit>
void ForUnits(ThreadPool* pool, int64_t rows, int64_t panels, const Unit& unit) {
  ParallelFor(pool, panels * CeilDiv(rows, kRowBlock), [&](int64_t index, int thread) {
    const int64_t m0 = index / panels * kRowBlock;
    unit(index % panels, m0, static_cast<int>(std::min<int64_t>(kRowBlock, rows - m0)), thread);
  });
}

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_MATMUL_UNIT_H_
