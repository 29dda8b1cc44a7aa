// The loops that a product is made of, one table of functions per instruction set. Internal to
// kernels/; target files include nothing but this header, portable-inl.h and intrinsics: they are
// compiled with wider instruction sets than the rest, and an inline function of a common header
// emitted there would be taken by the linker for everybody.
//
// All tables give the same bits. The contract, for a panel of 64 columns and up to kBlock of the
// contraction ("depth") at a time:
//   integer: acc[m][n] = fma(float(sum over a fold of x[m][k] w[k][n]), scale, acc[m][n]), folds in
//            order; a fold is a group, or kBlock where the format has none: |sum| <= 512 * 127 *
//            128 < 2^24, so float(sum) is exact
//   fp32:    acc[m][n] = fma(x[m][k], w[k][n], acc[m][n]), k in order
//   bf16:    acc[m][n] += e + o for every 32 of k, e and o the fused sums from zero over its even
//            and its odd ones, in order; operands and results below 2^-126 are zeros. The rule of
//            AMX's tdpbf16ps
#ifndef ISTHMUS_KERNELS_KERNEL_TABLE_H_
#define ISTHMUS_KERNELS_KERNEL_TABLE_H_

#include <cstdint>

#include "kernels/packed_layout.h"

namespace isthmus {

constexpr int kBlock = 512;      // depth of an integer block: 32 KiB of weights, fits L1
constexpr int kBlockF32 = 128;   // depth of an fp32 block: 32 KiB
constexpr int kBlockBf16 = 256;  // depth of a bf16 block: 32 KiB
constexpr int kRowTile = 16;     // rows are arranged in tiles of 16
constexpr int kRowBlock = 256;   // most rows of a call: 64 KiB of accumulators

// A panel's weights over one block: [depth/4][64][4].
struct IntBlock {
  const int8_t* weights;
  const float* scales;  // [folds][64], or null: the rows' scales apply
  int depth;            // multiple of 64, at most kBlock
  int fold;             // 32, 64, 128 or kBlock; the last fold ends with the block
  // The packed codes that will be wanted next, for prefetching while this block is multiplied:
  // `next_step` bytes (128 or 256) per 4 inputs of this block, `next_stride` from 64 inputs to the
  // next. Null: none.
  const uint8_t* next = nullptr;
  int next_step = 0;
  int64_t next_stride = 0;
};

// Rows of 8-bit activations over the same block, as `arrange` laid them.
struct IntRows {
  const int8_t* values;
  int rows;
  const float* scales;   // of the first row and this block's first fold; null where the weights'
                         // apply
  int64_t scale_stride;  // floats from row to row
};

// The same in fp32: [depth][64].
struct F32Block {
  const float* weights;
  int depth;    // at most kBlockF32
  int columns;  // computed, 1..64; acc behind them, up to a vector, is scratch
};

// A panel's bf16 weights over one block, as they lie or transposed: [depth/2][64][2].
struct Bf16Block {
  const uint16_t* weights;
  int depth;  // multiple of 32, at most kBlockBf16
};

// One block of a packed matrix: panel, first input, inputs (a multiple of 64, at most kBlock).
struct BlockRange {
  int64_t panel;
  int64_t first;
  int depth;
};

struct KernelTable {
  // x [n] to 8-bit codes [padded] (zeros behind n) with one scale per `group` values; `factors`
  // (may be null) multiply x first. A group that is not finite gets scale NaN and codes 0.
  void (*quantize_row)(const float* x, const float* factors, int64_t n, int64_t padded,
                       int64_t group, int8_t* codes, float* scales);
  // Rows [count][stride] over `depth` to what multiply_int reads: tiles of 16 rows x kBlock bytes.
  // Rows up to the next multiple of 16 are zeros.
  void (*arrange)(const int8_t* codes, int64_t stride, int count, int depth, int8_t* out);
  // acc [rows][64]; `first`: starts from zero.
  void (*multiply_int)(const IntBlock& block, const IntRows& rows, float* acc, bool first);
  // y[n] for one row x [in_padded] and one panel, acc [64], the whole depth: the stream of weights
  // is read once, with no copy. Null: the table has no special loop.
  void (*int_vector)(const PackedView& w, int64_t panel, const int8_t* x, float* acc);
  // The block's fold scales as fp32 [folds][64].
  void (*stage_scales)(const PackedView& w, const BlockRange& range, float* scales);
  // Unpacks integer codes to [depth/4][64][4] (null for 8-bit codes, which lie so already).
  void (*stage_int)(const PackedView& w, const BlockRange& range, int8_t* out);
  // The transpose: the depth runs over output channels, the 64 columns are inputs `column` ...
  // `column` + 63; codes relative to the channels' backward scales.
  void (*stage_int_transposed)(const PackedView& w, int64_t column, int64_t first_channel,
                               int depth, int8_t* out);
  // acc [rows][64] += x [rows][stride] times the block.
  void (*multiply_f32)(const F32Block& block, const float* x, int64_t stride, int rows, float* acc,
                       bool first);
  // acc [rows][64] += x times the block; x in tiles of [depth/32][16 rows][32], `tile_stride`
  // values from one to the next, zeros behind the last row. acc has room for whole tiles. Null: the
  // fp32 loops give the same bits.
  void (*multiply_bf16)(const Bf16Block& block, const uint16_t* x, int64_t tile_stride, int rows,
                        float* acc, bool first);
  // y [rows][stride], `columns` of them = acc [rows][64] x each row's scale (null: 1); `add`: onto
  // what is there.
  void (*write)(const float* acc, const float* row_scales, int rows, int columns, int64_t stride,
                bool add, float* y);
  // Any format to fp32 [depth][64], and its transpose.
  void (*stage_f32)(const PackedView& w, const BlockRange& range, float* out);
  void (*stage_f32_transposed)(const PackedView& w, int64_t column, int64_t first_channel,
                               int depth, float* out);
};

// Of the AMX table, in a file of its own.
void AmxMultiplyBf16(const Bf16Block& block, const uint16_t* x, int64_t tile_stride, int rows,
                     float* acc, bool first);

// The tables; null where this build lacks the instruction set.
const KernelTable* ScalarKernels();
const KernelTable* Avx2Kernels();
const KernelTable* Avx512VnniKernels();
const KernelTable* AmxKernels();  // for 16 rows and more; fewer run on AVX-512 VNNI
const KernelTable* NeonKernels();
const KernelTable* NeonDotprodKernels();
const KernelTable* NeonI8mmKernels();  // for 2 rows and more; one runs on the dot product

// The values of a table format's codes at scale 1, for stage_f32: [256], 16 repeated.
const float* DecodeTable(WeightFormat format);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_KERNEL_TABLE_H_
