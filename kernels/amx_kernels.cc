// AMX int8 tiles over the loops of AVX-512 (Sapphire Rapids and later).
#include <immintrin.h>

#include "kernels/kernel_table.h"

namespace isthmus {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 6;  // 6 x 4 accumulators of 32 registers
constexpr int kTileVecs = 4;
inline Vec Zero() { return _mm512_setzero_ps(); }
inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(Vec v, float* p) { _mm512_storeu_ps(p, v); }
inline Vec Broadcast(float v) { return _mm512_set1_ps(v); }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }

}  // namespace
}  // namespace isthmus

#include "kernels/portable-inl.h"
//
#include "kernels/avx512-inl.h"

namespace isthmus {
namespace {

// Tile t of 16 rows: [8 x 64 inputs][16 rows][64], so that a tile's rows are neighbours. As rows of
// a matrix they would lie a multiple of 4 KiB apart and fight for one set of L1.
void ArrangeTiles(const int8_t* codes, int64_t stride, int count, int depth, int8_t* out) {
  const int padded = (count + kRowTile - 1) / kRowTile * kRowTile;
  for (int m = 0; m < padded; ++m) {
    int8_t* row = out + m / kRowTile * (kRowTile * kBlock) + m % kRowTile * 64;
    for (int k = 0; k < depth; k += 64) {
      const __m512i v = m < count ? LoadBytes(codes + m * stride + k) : _mm512_setzero_si512();
      StoreBytes(row + k * kRowTile, v);
    }
  }
}

// Tiles 0..3: sums of 16 rows x 16 columns; 4, 5: activations, 16 rows x `depth` bytes; 6, 7:
// weights, depth/4 x 16 columns. `depth` is 64, or 32 for folds of 32.
struct alignas(64) TileConfig {
  explicit TileConfig(int depth) {
    for (int i = 0; i < 8; ++i) {
      bytes_per_row[i] = static_cast<uint16_t>(i == 4 || i == 5 ? depth : 64);
      rows[i] = static_cast<uint8_t>(i < 6 ? 16 : depth / 4);
    }
  }
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_per_row[16] = {};
  uint8_t rows[16] = {};
};

class TilesInUse {
 public:
  explicit TilesInUse(int depth) {
    const TileConfig config(depth);
    // GCC 12 takes only the first 8 bytes for the instruction's input and drops the other stores.
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  ~TilesInUse() { _tile_release(); }
};

constexpr int kWeightStride = kPanel * 4;

// What one 16 x 16 tile of the product reads and where it goes.
struct TileTask {
  const int8_t* x;      // [8][16 rows][64]
  const int8_t* w;      // [depth/4][stride kWeightStride], 16 columns of the panel
  const float* scales;  // of the first fold: of the 16 columns, or of the 16 rows
  float* acc;           // [rows][64]
  int rows;
};

// How a block is cut into steps. A step is what two sums tiles hold: two folds (of 32 or 64
// inputs), or the even and the odd 64s of one long fold (products into one tile would wait 52
// cycles for each other). kSpan: inputs of one product. kSteps: of a block of full depth, 0 where
// not known.
template <bool kRowScales, int kSpan, bool kLong, int kSteps>
struct Shape {
  static constexpr bool row_scales = kRowScales;
  static constexpr int span = kSpan;
  static constexpr bool long_folds = kLong;
  static constexpr int steps = kSteps;
};

// The intrinsics take register numbers as literals: sums c0 and c1 of one product each, or of many.
#define ISTHMUS_ADD_PRODUCT(c, a, b, k)                          \
  _tile_loadd(a, x + (k) / 64 * (64 * kRowTile) + (k) % 64, 64); \
  _tile_loadd(b, w + (k)*kPanel, kWeightStride);                 \
  _tile_dpbssd(c, a, b)
#define ISTHMUS_SUM_STEP(c0, c1)              \
  _tile_zero(c0);                             \
  _tile_zero(c1);                             \
  ISTHMUS_ADD_PRODUCT(c0, 4, 6, 0);           \
  if (length > S::span) {                     \
    ISTHMUS_ADD_PRODUCT(c1, 5, 7, S::span);   \
  }                                           \
  if (S::long_folds) {                        \
    for (int k = 128; k < length; k += 128) { \
      ISTHMUS_ADD_PRODUCT(c0, 4, 6, k);       \
      if (k + 64 >= length) break;            \
      ISTHMUS_ADD_PRODUCT(c1, 5, 7, k + 64);  \
    }                                         \
  }

// Steps take turns with two pairs of tiles.
template <typename S>
inline void SumStep(const IntBlock& block, const TileTask& task, int step, int turn) {
  const int per_step = S::long_folds ? block.fold : 2 * S::span;
  const int begin = step * per_step;
  const int length = (S::steps > 0 && !S::long_folds) || begin + per_step < block.depth
                         ? per_step
                         : block.depth - begin;
  const int8_t* x = task.x + begin * kRowTile;
  const int8_t* w = task.w + begin * kPanel;
  if (turn == 0) {
    ISTHMUS_SUM_STEP(0, 1);
  } else {
    ISTHMUS_SUM_STEP(2, 3);
  }
}
#undef ISTHMUS_SUM_STEP
#undef ISTHMUS_ADD_PRODUCT

inline void StoreStep(int turn, int32_t* sums) {
  if (turn == 0) {
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
  } else {
    _tile_stored(2, sums, 64);
    _tile_stored(3, sums + 256, 64);
  }
}

// acc [16 rows] = fma(sums, scale, acc), with the columns' scales or the rows' own.
template <typename S>
inline void FoldSums(const int32_t* sums, const float* scales, __m512 (&acc)[16]) {
  const __m512 columns = S::row_scales ? Zero() : Load(scales);
#pragma GCC unroll 16
  for (int m = 0; m < 16; ++m) {
    const __m512 scale = S::row_scales ? Broadcast(scales[m]) : columns;
    __m512i sum = LoadBytes(sums + m * 16);
    if (S::long_folds) sum = _mm512_add_epi32(sum, LoadBytes(sums + 256 + m * 16));
    acc[m] = MulAdd(_mm512_cvtepi32_ps(sum), scale, acc[m]);
  }
}

template <typename S>
inline void FoldStep(const TileTask& task, int folds, int step, const int32_t* sums,
                     __m512 (&acc)[16]) {
  constexpr int kStride = S::row_scales ? kRowBlock : kPanel;
  if (S::long_folds) return FoldSums<S>(sums, task.scales + step * kStride, acc);
  FoldSums<S>(sums, task.scales + 2 * step * kStride, acc);
  if (S::steps == 0 && 2 * step + 1 == folds) return;
  FoldSums<S>(sums + 256, task.scales + (2 * step + 1) * kStride, acc);
}

inline void LoadAcc(const TileTask& task, bool first, __m512 (&acc)[16]) {
#pragma GCC unroll 16
  for (int m = 0; m < 16; ++m) {
    acc[m] = first || m >= task.rows ? Zero() : Load(task.acc + m * kPanel);
  }
}
inline void StoreAcc(const TileTask& task, const __m512 (&acc)[16]) {
#pragma GCC unroll 16
  for (int m = 0; m < 16; ++m) {
    if (m < task.rows) Store(acc[m], task.acc + m * kPanel);
  }
}

// Asks for lines first, first + 1, ... of what comes next.
void PrefetchLines(const IntBlock& block, int first, int count) {
  const int shift = block.next_step == 256 ? 6 : 5;  // 64 or 32 lines for 64 inputs
  for (int i = first; i < first + count; ++i) {
    PrefetchToL2(block.next + (i >> shift) * block.next_stride + (i & ((1 << shift) - 1)) * 64);
  }
}

// Task t of a block: 16 rows, 16 of the panel's columns.
template <typename S>
inline TileTask TaskAt(const IntBlock& block, const IntRows& rows, const float* scales, float* acc,
                       int t) {
  const int m = t / 4 * kRowTile;
  const int n = t % 4 * 16;
  return {rows.values + m * kBlock, block.weights + n * 4, scales + (S::row_scales ? m : n),
          acc + m * kPanel + n, rows.rows - m < kRowTile ? rows.rows - m : kRowTile};
}

// One stream of steps over all tasks. Sums leave the tiles through memory, and a load right behind
// the store would wait for it: a step is summed, then the step before it is folded, then its own
// sums are stored. In this order two folds of 64 take 37 ns; folding what was just stored takes 50
// (one core of a Sapphire Rapids; loads and products alone would take 16).
template <typename S>
void IntTiles(const IntBlock& block, const IntRows& rows, const float* scales, float* acc,
              bool first) {
  alignas(64) int32_t sums[2][512];
  const int folds = (block.depth + block.fold - 1) / block.fold;
  const int steps = S::steps > 0 ? S::steps : S::long_folds ? folds : (folds + 1) / 2;
  const int tasks = (rows.rows + kRowTile - 1) / kRowTile * 4;
  const int lines = block.next == nullptr ? 0 : block.depth / 64 * block.next_step / 4;
  const int share = (lines + tasks - 1) / tasks;
  __m512 values[16];
  TileTask before = {};
  int turn = 0;
  for (int t = 0; t < tasks; ++t) {
    const TileTask task = TaskAt<S>(block, rows, scales, acc, t);
    PrefetchLines(block, t * share, (t + 1) * share < lines ? share : lines - t * share);
    if (S::steps > 0 && S::steps % 2 == 0) turn = 0;  // as it is; known to the compiler
#pragma GCC unroll 8
    for (int step = 0; step < (S::steps > 0 ? S::steps : steps); ++step, turn ^= 1) {
      SumStep<S>(block, task, step, turn);
      if (step > 0) {
        FoldStep<S>(task, folds, step - 1, sums[turn ^ 1], values);
      } else {
        if (t > 0) {
          FoldStep<S>(before, folds, steps - 1, sums[turn ^ 1], values);
          StoreAcc(before, values);
        }
        LoadAcc(task, first, values);
      }
      StoreStep(turn, sums[turn]);
    }
    before = task;
  }
  FoldStep<S>(before, folds, steps - 1, sums[turn ^ 1], values);
  StoreAcc(before, values);
}

// The rows' scales as [folds][kRowBlock]; rows behind the last repeat it.
void CopyRowScales(const IntBlock& block, const IntRows& rows, float* scales) {
  for (int f = 0; f * block.fold < block.depth; ++f) {
    for (int m = 0; m < kRowBlock; ++m) {
      const int row = m < rows.rows ? m : rows.rows - 1;
      scales[f * kRowBlock + m] = rows.scales[row * rows.scale_stride + f];
    }
  }
}

void MultiplyInt(const IntBlock& block, const IntRows& rows, float* acc, bool first) {
  const TilesInUse tiles(block.fold < 64 ? 32 : 64);
  if (block.scales == nullptr) {  // folds of 64
    alignas(64) float scales[kBlock / 64 * kRowBlock];
    CopyRowScales(block, rows, scales);
    if (block.depth == kBlock) {
      return IntTiles<Shape<true, 64, false, kBlock / 128>>(block, rows, scales, acc, first);
    }
    return IntTiles<Shape<true, 64, false, 0>>(block, rows, scales, acc, first);
  }
  if (block.fold > 64) {
    return IntTiles<Shape<false, 64, true, 0>>(block, rows, block.scales, acc, first);
  }
  if (block.fold < 64) {
    return IntTiles<Shape<false, 32, false, 0>>(block, rows, block.scales, acc, first);
  }
  if (block.depth == kBlock) {
    return IntTiles<Shape<false, 64, false, kBlock / 128>>(block, rows, block.scales, acc, first);
  }
  return IntTiles<Shape<false, 64, false, 0>>(block, rows, block.scales, acc, first);
}

}  // namespace

const KernelTable* AmxKernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangeTiles,
      .multiply_int = MultiplyInt,
      .int_vector = nullptr,
      .stage_scales = StageScales,
      .stage_int = StageIntWide,
      .stage_int_transposed = StageIntTransposedWide,
      .multiply_f32 = MultiplyF32,
      .multiply_bf16 = AmxMultiplyBf16,
      .write = WriteRows,
      .stage_f32 = StageF32,
      .stage_f32_transposed = StageF32Transposed,
  };
  return &kTable;
}

}  // namespace isthmus
