// Work is shared out in units of one panel of 64 output columns x up to kRowBlock rows. A unit
// walks the depth block by block: stage the block's weights into L1 (at most 32 KiB), multiply all
// its rows with them, and at the end write its part of y. Weights are so read from memory once per
// kRowBlock rows.
#include "kernels/matmul.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/matmul_bf16.h"
#include "kernels/matmul_unit.h"
#include "kernels/outlier_columns.h"
#include "kernels/scratch.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

// The memory of a call: the caller's, or the call's own.
class CallScratch {
 public:
  CallScratch(absl::Span<uint8_t> given, int64_t needed) : given_(given) {
    if (given.empty()) own_.resize(static_cast<size_t>(needed));
  }
  ScratchPieces pieces() { return ScratchPieces(own_.empty() ? given_ : absl::MakeSpan(own_)); }

 private:
  absl::Span<uint8_t> given_;
  std::vector<uint8_t> own_;
};

// Rows quantised and arranged for an integer product over `depth` (padded to 64).
struct ArrangedRows {
  const int8_t* values;  // [block][rows padded to 16][kBlock]
  const float* scales;   // [rows][scale_stride]
  int64_t scale_stride;
  int64_t padded_rows;
};

int64_t IntDepthBytes(int64_t rows, int64_t depth) {
  const int64_t padded_rows = RoundUp(rows, kRowTile);
  return ScratchPieces::Bytes<int8_t>(padded_rows * RoundUp(depth, kBlock)) +
         ScratchPieces::Bytes<int8_t>(rows * depth) +
         ScratchPieces::Bytes<float>(rows * CeilDiv(depth, 64));
}

int64_t UnitBytes(int threads) { return threads * ScratchPieces::Bytes<UnitScratch>(1); }

// Block b, rows m0 (a multiple of 16) and on.
const int8_t* ArrangedAt(const ArrangedRows& rows, int64_t block, int64_t m0) {
  return rows.values + (block * rows.padded_rows + m0) * kBlock;
}

ArrangedRows Arrange(const KernelTable& kernels, const int8_t* codes, int64_t rows, int64_t depth,
                     int8_t* values, ThreadPool* pool) {
  ArrangedRows arranged = {values, nullptr, 1, RoundUp(rows, kRowTile)};
  ParallelFor(pool, CeilDiv(rows, kRowTile), [&](int64_t tile, int) {
    const int64_t m0 = tile * kRowTile;
    const int count = static_cast<int>(std::min<int64_t>(kRowTile, rows - m0));
    for (int64_t k = 0; k < depth; k += kBlock) {
      kernels.arrange(codes + m0 * depth + k, depth, count,
                      static_cast<int>(std::min<int64_t>(kBlock, depth - k)),
                      values + (k / kBlock * arranged.padded_rows + m0) * kBlock);
    }
  });
  return arranged;
}

// One block of a panel's weights, ready to multiply, and what to prefetch meanwhile: the codes
// behind it, which are the next block's or the next panel's.
IntBlock StageForward(const KernelTable& kernels, const PackedView& w, const BlockRange& range,
                      UnitScratch* own) {
  const int bits = CodeBits(w.format);
  const int64_t begin = range.panel * w.panel_bytes + range.first * kPanel * bits / 8;
  const int64_t bytes = int64_t{range.depth} * kPanel * bits / 8;
  IntBlock block = {own->staged, own->scales, range.depth, w.scales != nullptr ? w.group : kBlock};
  kernels.stage_scales(w, range, own->scales);
  if (bits == 8) {
    block.weights = reinterpret_cast<const int8_t*>(w.codes) + begin;
  } else {
    kernels.stage_int(w, range, own->staged);
  }
  if (begin + 2 * bytes <= w.out_padded / kPanel * w.panel_bytes) {
    block.next = w.codes + begin + bytes;
    block.next_step = 4 * kPanel * bits / 8;
    block.next_stride = 64 * kPanel * bits / 8;
  }
  return block;
}

void IntForward(const KernelTable& kernels, const ArrangedRows& x, int64_t rows,
                const PackedView& w, UnitScratch* scratch, float* y, const MatmulOptions& options) {
  ForUnits(options.pool, rows, w.out_padded / kPanel,
           [&](int64_t panel, int64_t m0, int count, int thread) {
             UnitScratch& own = scratch[thread];
             for (int64_t k = 0; k < w.in_padded; k += kBlock) {
               const int depth = static_cast<int>(std::min<int64_t>(kBlock, w.in_padded - k));
               const IntBlock block = StageForward(kernels, w, {panel, k, depth}, &own);
               const IntRows some = {ArrangedAt(x, k / kBlock, m0), count, nullptr, 0};
               kernels.multiply_int(block, some, own.acc, k == 0);
             }
             WriteUnit(kernels, own.acc, panel, m0, count, w.out, x.scales, options.accumulate, y);
           });
}

// One row: the weights stream by once, nothing is staged.
void IntVector(const KernelTable& kernels, const QuantizedRows& x, const PackedView& w,
               UnitScratch* scratch, float* y, const MatmulOptions& options) {
  ParallelFor(options.pool, w.out_padded / kPanel, [&](int64_t panel, int thread) {
    float* acc = scratch[thread].acc;
    kernels.int_vector(w, panel, x.codes, acc);
    WriteUnit(kernels, acc, panel, 0, 1, w.out, x.scales, options.accumulate, y);
  });
}

void F32Forward(const KernelTable& kernels, const float* x, int64_t rows, const PackedView& w,
                UnitScratch* scratch, float* y, const MatmulOptions& options) {
  ForUnits(options.pool, rows, w.out_padded / kPanel,
           [&](int64_t panel, int64_t m0, int count, int thread) {
             UnitScratch& own = scratch[thread];
             for (int64_t k = 0; k < w.in; k += kBlockF32) {
               const int padded = static_cast<int>(std::min<int64_t>(kBlockF32, w.in_padded - k));
               kernels.stage_f32(w, {panel, k, padded}, own.staged_f32);
               const F32Block block = {own.staged_f32,
                                       static_cast<int>(std::min<int64_t>(kBlockF32, w.in - k)),
                                       kPanel};
               kernels.multiply_f32(block, x + m0 * w.in + k, w.in, count, own.acc, k == 0);
             }
             WriteUnit(kernels, own.acc, panel, m0, count, w.out, nullptr, options.accumulate, y);
           });
}

// The same for the transpose: 64 inputs of every panel in the block.
IntBlock StageBackward(const KernelTable& kernels, const PackedView& w, int64_t column,
                       int64_t first_channel, UnitScratch* own) {
  const int depth = static_cast<int>(std::min<int64_t>(kBlock, w.out_padded - first_channel));
  kernels.stage_int_transposed(w, column, first_channel, depth, own->staged);
  return {own->staged, nullptr, depth, 64};
}

void IntGradient(const KernelTable& kernels, const ArrangedRows& dy, int64_t rows,
                 const PackedView& w, UnitScratch* scratch, float* dx,
                 const MatmulOptions& options) {
  ForUnits(options.pool, rows, w.in_padded / kPanel,
           [&](int64_t panel, int64_t m0, int count, int thread) {
             UnitScratch& own = scratch[thread];
             for (int64_t n = 0; n < w.out_padded; n += kBlock) {
               const IntBlock block = StageBackward(kernels, w, panel * kPanel, n, &own);
               const IntRows some = {ArrangedAt(dy, n / kBlock, m0), count,
                                     dy.scales + m0 * dy.scale_stride + n / 64, dy.scale_stride};
               kernels.multiply_int(block, some, own.acc, n == 0);
             }
             WriteUnit(kernels, own.acc, panel, m0, count, w.in, nullptr, options.accumulate, dx);
           });
}

void F32Gradient(const KernelTable& kernels, const float* dy, int64_t rows, const PackedView& w,
                 UnitScratch* scratch, float* dx, const MatmulOptions& options) {
  ForUnits(options.pool, rows, w.in_padded / kPanel,
           [&](int64_t panel, int64_t m0, int count, int thread) {
             UnitScratch& own = scratch[thread];
             for (int64_t n = 0; n < w.out; n += kBlockF32) {
               const int padded = static_cast<int>(std::min<int64_t>(kBlockF32, w.out_padded - n));
               kernels.stage_f32_transposed(w, panel * kPanel, n, padded, own.staged_f32);
               const F32Block block = {own.staged_f32,
                                       static_cast<int>(std::min<int64_t>(kBlockF32, w.out - n)),
                                       kPanel};
               kernels.multiply_f32(block, dy + m0 * w.out + n, w.out, count, own.acc, n == 0);
             }
             WriteUnit(kernels, own.acc, panel, m0, count, w.in, nullptr, options.accumulate, dx);
           });
}

void ForwardQuantized(const QuantizedRows& x, const PackedMatrix& w, ScratchPieces* pieces,
                      float* y, const MatmulOptions& options) {
  ISTHMUS_CHECK(x.width == w.in() && IsIntegerFormat(w.spec().format));
  const KernelTable& kernels = KernelsFor(x.rows);
  auto* units = pieces->Take<UnitScratch>(NumThreads(options.pool));
  if (x.rows == 1 && kernels.int_vector != nullptr) {
    return IntVector(kernels, x, w.view(), units, y, options);
  }
  auto* values = pieces->Take<int8_t>(RoundUp(x.rows, kRowTile) * RoundUp(x.padded, kBlock));
  ArrangedRows rows = Arrange(kernels, x.codes, x.rows, x.padded, values, options.pool);
  rows.scales = x.scales;
  IntForward(kernels, rows, x.rows, w.view(), units, y, options);
}

void ForwardBesideOutliers(const OutlierRows& x, const PackedMatrix& w, absl::Span<uint8_t> storage,
                           ScratchPieces* pieces, float* y, const MatmulOptions& options) {
  const int64_t bytes = OutlierBytes(w.in(), NumThreads(options.pool));
  const absl::Span<uint8_t> own(pieces->Take<uint8_t>(bytes), static_cast<size_t>(bytes));
  const QuantizedRows inliers = QuantizeInliers(x, storage, own, options.pool);
  ForwardQuantized(inliers, w, pieces, y, options);
  AddOutliers(x, w, own, options.pool, y);
}

}  // namespace

int64_t MatmulScratchBytes(const PackedMatrix& w, int64_t rows, int threads,
                           bool bf16_activations) {
  int64_t bytes = UnitBytes(threads);
  const PackedView& view = w.view();
  if (w.spec().format == WeightFormat::kBf16 && bf16_activations) {
    return bytes + Bf16RowsBytes(rows, std::max(view.in_padded, view.out_padded));
  }
  if (!IsIntegerFormat(w.spec().format)) return bytes;
  return bytes + ScratchPieces::Bytes<uint8_t>(OutlierBytes(view.in, threads)) +
         std::max(IntDepthBytes(rows, view.in_padded), IntDepthBytes(rows, view.out_padded));
}

void MatmulForward(const QuantizedRows& x, const PackedMatrix& w, float* y,
                   const MatmulOptions& options) {
  if (x.rows == 0) return;
  CallScratch scratch(options.scratch, MatmulScratchBytes(w, x.rows, NumThreads(options.pool)));
  ScratchPieces pieces = scratch.pieces();
  ForwardQuantized(x, w, &pieces, y, options);
}

void MatmulForward(const float* x, int64_t rows, const PackedMatrix& w, float* y,
                   const MatmulOptions& options) {
  if (rows == 0) return;
  CallScratch scratch(options.scratch, MatmulScratchBytes(w, rows, NumThreads(options.pool),
                                                          options.bf16_activations));
  ScratchPieces pieces = scratch.pieces();
  if (w.spec().format == WeightFormat::kBf16 && options.bf16_activations) {
    return MatmulBf16(x, rows, w.view(), /*transposed=*/false, &pieces, y, options);
  }
  if (!IsIntegerFormat(w.spec().format) || options.float_activations) {
    auto* units = pieces.Take<UnitScratch>(NumThreads(options.pool));
    return F32Forward(KernelsFor(rows), x, rows, w.view(), units, y, options);
  }
  const int64_t bytes = QuantizedRowsBytes(rows, w.in());
  const absl::Span<uint8_t> storage(pieces.Take<uint8_t>(bytes), static_cast<size_t>(bytes));
  if (options.outliers > 0.0f) {
    return ForwardBesideOutliers({x, rows, w.in(), options.outliers}, w, storage, &pieces, y,
                                 options);
  }
  const QuantizedRows quantized = QuantizeRows(x, rows, w.in(), storage, options.pool);
  ForwardQuantized(quantized, w, &pieces, y, options);
}

void MatmulInputGradient(const float* dy, int64_t rows, const PackedMatrix& w, float* dx,
                         const MatmulOptions& options) {
  if (rows == 0) return;
  CallScratch scratch(options.scratch, MatmulScratchBytes(w, rows, NumThreads(options.pool),
                                                          options.bf16_activations));
  ScratchPieces pieces = scratch.pieces();
  const PackedView& view = w.view();
  if (view.format == WeightFormat::kBf16 && options.bf16_activations) {
    return MatmulBf16(dy, rows, view, /*transposed=*/true, &pieces, dx, options);
  }
  const KernelTable& kernels = KernelsFor(rows);
  auto* units = pieces.Take<UnitScratch>(NumThreads(options.pool));
  if (!IsIntegerFormat(view.format) || options.float_activations) {
    return F32Gradient(kernels, dy, rows, view, units, dx, options);
  }
  const int64_t depth = view.out_padded;
  const int64_t runs = depth / 64;
  auto* codes = pieces.Take<int8_t>(rows * depth);
  auto* scales = pieces.Take<float>(rows * runs);
  ParallelFor(options.pool, rows, [&](int64_t m, int) {
    kernels.quantize_row(dy + m * view.out, view.backward_scales, view.out, depth, 64,
                         codes + m * depth, scales + m * runs);
  });
  auto* values = pieces.Take<int8_t>(RoundUp(rows, kRowTile) * RoundUp(depth, kBlock));
  ArrangedRows arranged = Arrange(kernels, codes, rows, depth, values, options.pool);
  arranged.scales = scales;
  arranged.scale_stride = runs;
  IntGradient(kernels, arranged, rows, view, units, dx, options);
}

}  // namespace isthmus
