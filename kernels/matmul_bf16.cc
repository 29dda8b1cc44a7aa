#include "kernels/matmul_bf16.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cstring>

#include "kernels/matmul_unit.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

constexpr int kStep = 32;  // inputs whose two sums are added to the rest at a time
constexpr int kHalf = kStep / 2;

// What AMX does to denormal operands and results (a zero of their sign), for the fp32 loops.
class DenormalsAreZero {
 public:
#if defined(__x86_64__)
  DenormalsAreZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~DenormalsAreZero() { _mm_setcsr(before_); }

 private:
  const unsigned before_;
#elif defined(__aarch64__)
  DenormalsAreZero() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" ::"r"(before_ | uint64_t{1} << 24) : "memory");
  }
  ~DenormalsAreZero() { __asm__ volatile("msr fpcr, %0" ::"r"(before_) : "memory"); }

 private:
  uint64_t before_;
#endif
};

// To nearest, ties to even; a NaN stays one.
uint32_t RoundToBf16(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  const uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
  return (bits & 0x7FFFFFFFu) > 0x7F800000u ? bits >> 16 | 0x40u : rounded;
}
float FloatOfBits(uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, 4);
  return v;
}

// The rows of x [rows, width], rounded, zeros behind them up to `depth`.
struct RoundedRows {
  uint16_t* tiles = nullptr;  // [rows/16][depth/32][16][32], for the table's own loop
  float* halves = nullptr;    // else [rows][depth], of every 32 the 16 even ones first
  int64_t depth = 0;
};

void RoundToTiles(const float* x, int64_t width, int64_t row, const RoundedRows& to) {
  uint16_t* out = to.tiles + row / kRowTile * kRowTile * to.depth + row % kRowTile * kStep;
  for (int64_t k = 0; k < to.depth; k += kStep, out += kRowTile * kStep) {
    const int64_t count = std::clamp<int64_t>(width - k, 0, kStep);
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<uint16_t>(RoundToBf16(x[k + i]));
    std::fill(out + count, out + kStep, uint16_t{0});
  }
}

void RoundToHalves(const float* x, int64_t width, int64_t row, const RoundedRows& to) {
  float* out = to.halves + row * to.depth;
  for (int64_t k = 0; k < to.depth; ++k) {
    const int64_t at = k / kStep * kStep + k % 2 * kHalf + k % kStep / 2;
    out[at] = k < width ? FloatOfBits(RoundToBf16(x[k]) << 16) : 0.0f;
  }
}

RoundedRows RoundRows(const float* x, int64_t rows, int64_t width, int64_t depth, bool to_tiles,
                      ScratchPieces* pieces, ThreadPool* pool) {
  RoundedRows rounded;
  rounded.depth = depth;
  const int64_t padded = CeilDiv(rows, kRowTile) * kRowTile;
  if (to_tiles) {
    rounded.tiles = pieces->Take<uint16_t>(padded * depth);
  } else {
    rounded.halves = pieces->Take<float>(rows * depth);
  }
  ParallelFor(pool, to_tiles ? padded : rows, [&](int64_t row, int) {
    const float* from = x + row * width;
    if (!to_tiles) return RoundToHalves(from, width, row, rounded);
    RoundToTiles(from, row < rows ? width : 0, row, rounded);
  });
  return rounded;
}

// Codes of a panel from `input` on: [inputs/2][64][2], an operand as it lies.
const uint16_t* CodesOf(const PackedView& w, int64_t panel, int64_t input) {
  return reinterpret_cast<const uint16_t*>(w.codes + panel * w.panel_bytes) + input * kPanel;
}

// 64 channels x 64 inputs as [channels/2][64 inputs][2]: 2 x 2 at a time.
void TransposeCodes(const uint16_t* codes, uint16_t* out) {
  for (int p = 0; p < 32; ++p) {
    for (int q = 0; q < 32; ++q) {
      uint64_t v;
      std::memcpy(&v, codes + p * 2 * kPanel + q * 4, 8);
      v = (v & 0xFFFF00000000FFFFu) | (v >> 16 & 0xFFFF0000u) | (v & 0xFFFF0000u) << 16;
      std::memcpy(out + q * 2 * kPanel + p * 4, &v, 8);
    }
  }
}

// A block's weights [depth/2][64][2]: where they lie, or transposed into `turned`.
const uint16_t* BlockOf(const PackedView& w, bool transposed, int64_t panel, int64_t first,
                        int depth, uint16_t* turned) {
  if (!transposed) return CodesOf(w, panel, first);
  for (int n = 0; n < depth; n += kPanel) {
    TransposeCodes(CodesOf(w, (first + n) / kPanel, panel * kPanel), turned + n * kPanel);
  }
  return turned;
}

// [depth/32][16 even, 16 odd][64] fp32.
void StageHalves(const uint16_t* weights, int depth, float* out) {
  for (int k = 0; k < depth; k += 2, weights += 2 * kPanel) {
    float* even = out + (k / kStep * kStep + k % kStep / 2) * kPanel;
    float* odd = even + kHalf * kPanel;
    for (int n = 0; n < kPanel; ++n) {
      even[n] = FloatOfBits(uint32_t{weights[2 * n]} << 16);
      odd[n] = FloatOfBits(uint32_t{weights[2 * n + 1]} << 16);
    }
  }
}

// acc [rows][64] by the fp32 loops of the table: both sums of a step from zero, then added.
void MultiplyHalves(const KernelTable& kernels, const float* weights, int depth, const float* x,
                    int64_t stride, int rows, bool first, UnitScratch* own) {
  const DenormalsAreZero flush;
  float* const even = own->rows;
  float* const odd = own->rows + kRowBlock * kPanel;
  for (int k = 0; k < depth; k += kStep) {
    const float* w = weights + k * kPanel;
    kernels.multiply_f32({w, kHalf, kPanel}, x + k, stride, rows, even, true);
    kernels.multiply_f32({w + kHalf * kPanel, kHalf, kPanel}, x + k + kHalf, stride, rows, odd,
                         true);
    const bool fresh = first && k == 0;
    for (int i = 0; i < rows * kPanel; ++i) {
      own->acc[i] = (fresh ? 0.0f : own->acc[i]) + (even[i] + odd[i]);
    }
  }
}

}  // namespace

int64_t Bf16RowsBytes(int64_t rows, int64_t depth) {
  const int64_t padded = CeilDiv(rows, kRowTile) * kRowTile;
  return std::max(ScratchPieces::Bytes<uint16_t>(padded * depth),
                  ScratchPieces::Bytes<float>(rows * depth));
}

void MatmulBf16(const float* x, int64_t rows, const PackedView& w, bool transposed,
                ScratchPieces* pieces, float* y, const MatmulOptions& options) {
  const KernelTable& kernels = KernelsFor(rows);
  const bool tiled = kernels.multiply_bf16 != nullptr;
  const int64_t width = transposed ? w.out : w.in, out = transposed ? w.in : w.out;
  const int64_t depth = transposed ? w.out_padded : w.in_padded;
  const int64_t most = tiled ? kBlockBf16 : kBlockF32;
  auto* units = pieces->Take<UnitScratch>(NumThreads(options.pool));
  const RoundedRows rounded = RoundRows(x, rows, width, depth, tiled, pieces, options.pool);
  ForUnits(options.pool, rows, CeilDiv(out, kPanel),
           [&](int64_t panel, int64_t m0, int count, int thread) {
             UnitScratch& own = units[thread];
             alignas(64) uint16_t turned[kBlockBf16 * kPanel];
             for (int64_t k = 0; k < depth; k += most) {
               const int some = static_cast<int>(std::min(most, depth - k));
               const uint16_t* weights = BlockOf(w, transposed, panel, k, some, turned);
               if (tiled) {
                 kernels.multiply_bf16({weights, some}, rounded.tiles + m0 * depth + k * kRowTile,
                                       kRowTile * depth, count, own.acc, k == 0);
                 continue;
               }
               StageHalves(weights, some, own.staged_f32);
               MultiplyHalves(kernels, own.staged_f32, some, rounded.halves + m0 * depth + k, depth,
                              count, k == 0, &own);
             }
             WriteUnit(kernels, own.acc, panel, m0, count, out, nullptr, options.accumulate, y);
           });
}

}  // namespace isthmus
