#include <algorithm>
#include <vector>

#include "kernels/matmul.h"
#include "kernels/matmul_unit.h"
#include "kernels/scratch.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

struct Product {
  MatrixOperand a;
  MatrixOperand b;
  int64_t m, n, k;
};

struct Unit {
  int64_t m0;
  int64_t n0;
  int rows;
  int columns;
};

// b [k0.., depth][n0.., columns] to [depth][64]; columns behind are zero, so that a vector's unused
// lanes stay finite.
void StageB(const MatrixOperand& b, int64_t k0, int depth, const Unit& unit, float* out) {
  for (int k = 0; k < depth; ++k) {
    float* row = out + k * kPanel;
    if (!b.transposed) {
      std::copy_n(b.values + (k0 + k) * b.stride + unit.n0, unit.columns, row);
    }
    std::fill(row + unit.columns, row + kPanel, 0.0f);
  }
  if (!b.transposed) return;
  for (int n = 0; n < unit.columns; ++n) {
    const float* from = b.values + (unit.n0 + n) * b.stride + k0;
    for (int k = 0; k < depth; ++k) out[k * kPanel + n] = from[k];
  }
}

// a's rows over [k0, k0 + depth): where they lie, or transposed into `own`.
const float* StageA(const MatrixOperand& a, int64_t k0, int depth, const Unit& unit, float* own,
                    int64_t* stride) {
  if (!a.transposed) {
    *stride = a.stride;
    return a.values + unit.m0 * a.stride + k0;
  }
  *stride = kBlockF32;
  for (int k = 0; k < depth; ++k) {
    const float* from = a.values + (k0 + k) * a.stride + unit.m0;
    for (int m = 0; m < unit.rows; ++m) own[m * kBlockF32 + k] = from[m];
  }
  return own;
}

void ComputeUnit(const KernelTable& kernels, const Product& product, const Unit& unit,
                 bool accumulate, UnitScratch* own, float* c) {
  for (int64_t k = 0; k < product.k; k += kBlockF32) {
    const int depth = static_cast<int>(std::min<int64_t>(kBlockF32, product.k - k));
    StageB(product.b, k, depth, unit, own->staged_f32);
    int64_t stride = 0;
    const float* rows = StageA(product.a, k, depth, unit, own->rows, &stride);
    const F32Block block = {own->staged_f32, depth, unit.columns};
    kernels.multiply_f32(block, rows, stride, unit.rows, own->acc, k == 0);
  }
  for (int m = 0; m < unit.rows; ++m) {
    float* to = c + (unit.m0 + m) * product.n + unit.n0;
    const float* acc = own->acc + m * kPanel;
    for (int n = 0; n < unit.columns; ++n) to[n] = accumulate ? to[n] + acc[n] : acc[n];
  }
}

}  // namespace

int64_t MatmulF32ScratchBytes(int threads) { return ScratchPieces::Bytes<UnitScratch>(threads); }

void MatmulF32(const MatrixOperand& a, const MatrixOperand& b, int64_t m, int64_t n, int64_t k,
               float* c, const MatmulOptions& options) {
  if (k == 0 && !options.accumulate) std::fill(c, c + m * n, 0.0f);
  if (m == 0 || n == 0 || k == 0) return;
  const int threads = NumThreads(options.pool);
  std::vector<uint8_t> allocated;
  if (options.scratch.empty()) allocated.resize(MatmulF32ScratchBytes(threads));
  ScratchPieces pieces(allocated.empty() ? options.scratch : absl::MakeSpan(allocated));
  auto* units = pieces.Take<UnitScratch>(threads);
  const Product product = {a, b, m, n, k};
  const KernelTable& kernels = KernelsFor(m);
  const int64_t row_blocks = (m + kRowBlock - 1) / kRowBlock;
  const int64_t panels = (n + kPanel - 1) / kPanel;
  ParallelFor(options.pool, panels * row_blocks, [&](int64_t index, int thread) {
    Unit unit;
    unit.m0 = index % row_blocks * kRowBlock;
    unit.n0 = index / row_blocks * kPanel;
    unit.rows = static_cast<int>(std::min<int64_t>(kRowBlock, m - unit.m0));
    unit.columns = static_cast<int>(std::min<int64_t>(kPanel, n - unit.n0));
    ComputeUnit(kernels, product, unit, options.accumulate, units + thread, c);
  });
}

}  // namespace isthmus
