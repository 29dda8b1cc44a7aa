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

// Tiles 0, 1: sums; 2, 3: activations 16 x 64 bytes; 4, 5: weights 16 x 64; 6, 7: the same for
// folds of 32 inputs.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 32, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 8};
};

class TilesInUse {
 public:
  TilesInUse() {
    const TileConfig config;
    // GCC 12 takes only the first 8 bytes for the instruction's input and drops the other stores.
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  ~TilesInUse() { _tile_release(); }
};

constexpr int kWeightStride = kPanel * 4;

// The 16 x 16 sums of one fold into `sums`. kTile (0 or 1): neighbouring folds use other registers,
// so that one is stored while the next is summed.
template <int kTile>
inline void SumFold(const int8_t* x, const int8_t* w, int length, int32_t* sums) {
  // The compiler's intrinsics take register numbers as literals.
  if constexpr (kTile == 0) {
    _tile_zero(0);
    for (int k = 0; k < length; k += 64) {
      _tile_loadd(2, x + k * kRowTile, 64);
      _tile_loadd(4, w + k * kPanel, kWeightStride);
      _tile_dpbssd(0, 2, 4);
    }
    _tile_stored(0, sums, 64);
  } else {
    _tile_zero(1);
    for (int k = 0; k < length; k += 64) {
      _tile_loadd(3, x + k * kRowTile, 64);
      _tile_loadd(5, w + k * kPanel, kWeightStride);
      _tile_dpbssd(1, 3, 5);
    }
    _tile_stored(1, sums, 64);
  }
}

// A fold of 32 inputs, the first or second half of 64: half of the tile's depth.
inline void SumHalfFold(const int8_t* x, const int8_t* w, int32_t* sums) {
  _tile_zero(0);
  _tile_loadd(6, x, 64);
  _tile_loadd(7, w, kWeightStride);
  _tile_dpbssd(0, 6, 7);
  _tile_stored(0, sums, 64);
}

// acc [16 rows] = fma(sums, scale, acc), with the columns' scales or the rows' own.
inline void FoldTile(const int32_t* sums, const float* scales, const float* row_scales,
                     const int64_t* row_offsets, __m512 (&acc)[16]) {
  if (scales != nullptr) {
    const __m512 scale = Load(scales);
#pragma GCC unroll 16
    for (int m = 0; m < 16; ++m) {
      acc[m] = MulAdd(_mm512_cvtepi32_ps(LoadBytes(sums + m * 16)), scale, acc[m]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int m = 0; m < 16; ++m) {
    acc[m] = MulAdd(_mm512_cvtepi32_ps(LoadBytes(sums + m * 16)),
                    Broadcast(row_scales[row_offsets[m]]), acc[m]);
  }
}

// 16 rows x 16 columns over the block.
void IntTile(const IntBlock& block, const int8_t* x, const int8_t* w, const float* scales,
             const float* row_scales, const int64_t* row_offsets, float* to, int rows, bool first) {
  alignas(64) int32_t sums[2][256];
  __m512 acc[16];
#pragma GCC unroll 16
  for (int m = 0; m < 16; ++m) acc[m] = first || m >= rows ? Zero() : Load(to + m * kPanel);
  for (int begin = 0, f = 0; begin < block.depth; begin += block.fold, ++f) {
    const int length = begin + block.fold < block.depth ? block.fold : block.depth - begin;
    const int8_t* xf = x + begin / 64 * (64 * kRowTile) + begin % 64;
    const int8_t* wf = w + begin * kPanel;
    if (length == 32) {
      SumHalfFold(xf, wf, sums[f % 2]);
    } else if (f % 2 == 0) {
      SumFold<0>(xf, wf, length, sums[0]);
    } else {
      SumFold<1>(xf, wf, length, sums[1]);
    }
    FoldTile(sums[f % 2], scales == nullptr ? nullptr : scales + f * kPanel, row_scales + f,
             row_offsets, acc);
  }
#pragma GCC unroll 16
  for (int m = 0; m < 16; ++m) {
    if (m < rows) Store(acc[m], to + m * kPanel);
  }
}

void MultiplyInt(const IntBlock& block, const IntRows& rows, float* acc, bool first) {
  const TilesInUse tiles;
  for (int m = 0; m < rows.rows; m += kRowTile) {
    const int count = rows.rows - m < kRowTile ? rows.rows - m : kRowTile;
    int64_t row_offsets[16];
    for (int i = 0; i < 16; ++i) row_offsets[i] = (m + (i < count ? i : 0)) * rows.scale_stride;
    for (int n = 0; n < kPanel; n += 16) {
      IntTile(block, rows.values + m * kBlock, block.weights + n * 4,
              block.scales == nullptr ? nullptr : block.scales + n, rows.scales, row_offsets,
              acc + m * kPanel + n, count, first);
    }
  }
}

}  // namespace

const KernelTable* AmxKernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangeTiles,
      .multiply_int = MultiplyInt,
      .int_vector = nullptr,
      .stage_int = StageIntWide,
      .stage_int_transposed = StageIntTransposedWide,
      .multiply_f32 = MultiplyF32,
      .stage_f32 = StageF32,
      .stage_f32_transposed = StageF32Transposed,
  };
  return &kTable;
}

}  // namespace isthmus
