// AMX bf16 tiles: one instruction adds 16 x 16 sums over 32 inputs, by the rule of Bf16Block.
#include <immintrin.h>

#include "kernels/kernel_table.h"

namespace isthmus {
namespace {

struct alignas(64) TileConfig {
  TileConfig() {
    for (int i = 0; i < 8; ++i) {
      bytes_per_row[i] = 64;
      rows[i] = 16;
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
  TilesInUse() {
    const TileConfig config;
    // GCC 12 takes only the first 8 bytes for the instruction's input and drops the other stores.
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  ~TilesInUse() { _tile_release(); }
};

constexpr int kLine = kPanel * 4;    // bytes of a row of acc, and of two inputs of the weights
constexpr int kStepBytes = 16 * 64;  // of a tile of activations

// Tiles 0..3: sums; 4, 5: activations; 6, 7: weights.
// Two tiles of rows, 32 columns.
void Tiles2x2(const Bf16Block& block, const uint8_t* x0, const uint8_t* x1, const uint8_t* w,
              float* acc, bool first) {
  float* const below = acc + 16 * kPanel;
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, acc, kLine);
    _tile_loadd(1, acc + 16, kLine);
    _tile_loadd(2, below, kLine);
    _tile_loadd(3, below + 16, kLine);
  }
  for (int k = 0; k < block.depth; k += 32, w += 16 * kLine) {
    _tile_loadd(4, x0 + k / 32 * kStepBytes, 64);
    _tile_loadd(6, w, kLine);
    _tile_loadd(7, w + 64, kLine);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, x1 + k / 32 * kStepBytes, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, acc, kLine);
  _tile_stored(1, acc + 16, kLine);
  _tile_stored(2, below, kLine);
  _tile_stored(3, below + 16, kLine);
}

// The last tile of rows where their number is odd.
void Tiles1x2(const Bf16Block& block, const uint8_t* x, const uint8_t* w, float* acc, bool first) {
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
  } else {
    _tile_loadd(0, acc, kLine);
    _tile_loadd(1, acc + 16, kLine);
  }
  for (int k = 0; k < block.depth; k += 32, w += 16 * kLine) {
    _tile_loadd(4, x + k / 32 * kStepBytes, 64);
    _tile_loadd(6, w, kLine);
    _tile_loadd(7, w + 64, kLine);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, acc, kLine);
  _tile_stored(1, acc + 16, kLine);
}

}  // namespace

void AmxMultiplyBf16(const Bf16Block& block, const uint16_t* x, int64_t tile_stride, int rows,
                     float* acc, bool first) {
  const TilesInUse in_use;
  const auto* weights = reinterpret_cast<const uint8_t*>(block.weights);
  int m = 0;
  for (; m + kRowTile < rows; m += 2 * kRowTile) {
    const auto* x0 = reinterpret_cast<const uint8_t*>(x + m / kRowTile * tile_stride);
    const auto* x1 = x0 + tile_stride * 2;
    for (int n = 0; n < kPanel; n += 32) {
      Tiles2x2(block, x0, x1, weights + n * 4, acc + m * kPanel + n, first);
    }
  }
  if (m >= rows) return;
  const auto* last = reinterpret_cast<const uint8_t*>(x + m / kRowTile * tile_stride);
  for (int n = 0; n < kPanel; n += 32) {
    Tiles1x2(block, last, weights + n * 4, acc + m * kPanel + n, first);
  }
}

}  // namespace isthmus
