// The inner loop of ecq along one row: class, code and symbol of every place, chunk by chunk. A
// chunk's classes come from the expected |q| of its channels, moved by how active the row's earlier
// chunks were against what was expected of them.
//
// Everything that both ends derive is element-wise IEEE single or integers: every instruction set,
// and the scalar definitions, give the same.
#ifndef ISTHMUS_COMPRESSION_ECQ_ROW_CODES_H_
#define ISTHMUS_COMPRESSION_ECQ_ROW_CODES_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "compression/ecq_kernels.h"
#include "compression/ecq_raw_bits.h"
#include "compression/ecq_tables.h"
#include "compression/rans.h"

namespace isthmus {

// Channels that share what is known of a row's activity: the chunk that begins at a column. Wide
// rows tell enough with few chunks, and a chunk is what can be worked on at once; what the first
// ones of a wide row tell is worth the most.
inline constexpr size_t kEcqMostChunk = 128;
inline constexpr size_t EcqLeastChunk(size_t width) {
  return width < 128 ? 8 : (width < 256 ? 16 : 32);
}
inline constexpr size_t EcqChunkAt(size_t width, size_t column) {
  const size_t most = width < 512 || column < 64 ? EcqLeastChunk(width)
                      : column < 128             ? 64
                                                 : kEcqMostChunk;
  return most < width - column ? most : width - column;
}

// Codes of a row so far and what was expected, in units of 2^-12; both begin with a little of the
// row before.
struct EcqActivity {
  int64_t active = 0, expected = 0;

  // How the classes of the next chunk are moved, in half octaves.
  int Shift() const {
    const auto log = [](int64_t v) { return std::bit_cast<int32_t>(static_cast<float>(v)); };
    constexpr int64_t kPrior = 3 << 12;  // three codes of size 1: few codes say little
    const int32_t ratio = log(active + kPrior) - log(expected + kPrior);
    return std::clamp((ratio + (1 << 21)) >> 22, -12, 12);
  }
};

// One row of `width` places, cut into chunks; classes and q are results.
struct EcqRow {
  const float* expected;  // |q| by channel
  size_t width;
  uint8_t* classes;
  int32_t* q;
};

// By min(class, 31): where rounding to zero ends, as bits of fp32 whose lower 6 are 1 + the largest
// |q| of the class's table, or 0 for classes with low bits.
using EcqLimits = std::array<float, 32>;
EcqLimits MakeEcqLimits(const std::array<float, kEcqPlainClasses>& thresholds);
inline uint32_t EcqLimitOf(const EcqLimits& limits, int cls) {
  return std::bit_cast<uint32_t>(limits[static_cast<size_t>(std::min(cls, 31))]);
}

// The sender. q is the code nearest to (x - prediction) * inverse_step, or 0 where its magnitude is
// below the class's threshold; with `dither` (prediction null), the code nearest to x *
// inverse_step + dither. Writes the symbols to ops (table * kRansSymbols + symbol) and what lies
// beyond a table to raw. Returns the bits of the largest magnitude before rounding: where that
// exceeds kEcqLargestCode, the results are of no use.
struct EcqRowInput {
  const float* x;
  const float* prediction;  // null: what the lesson's predictor gives
  const float* dither;
  const float* inverse_step;
};
uint32_t EcqCodeRow(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                    EcqActivity* activity, RawBitWriter* raw, uint16_t* ops);

// The receiver. False for codes out of range.
bool EcqReadRow(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                RansDecoder* coder, RawBitReader* raw);

// Either and EcqLearnRow with a lesson that has no prediction, a chunk at a time: while a chunk is
// learned from, the next is worked on. Of the lesson's row, which is `row`; x_hat and *largest are
// what EcqLearnRow gives. Chunks of 16 places at least.
//
// Rows come from anywhere in memory, and a row of a band is too short for the hardware to see where
// it is heading: `next` are the rows that come next, asked for as the chunks go by.
struct EcqFusedLesson {
  const EcqLesson* lesson;
  float* x_hat;
  uint32_t* largest;
  std::array<const float*, 2> next;  // each of the row's width
};
uint32_t EcqCodeAndLearnRow(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                            EcqActivity* activity, RawBitWriter* raw, uint16_t* ops,
                            const EcqFusedLesson& learn);
bool EcqReadAndLearnRow(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                        RansDecoder* coder, RawBitReader* raw, const EcqFusedLesson& learn);
inline constexpr size_t kEcqLeastFusedChunk = 16;

// The same, one place at a time: what the others are tested against.
uint32_t EcqCodeRowScalar(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                          EcqActivity* activity, RawBitWriter* raw, uint16_t* ops);
bool EcqReadRowScalar(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                      RansDecoder* coder, RawBitReader* raw);
uint32_t EcqLearnRowScalar(const EcqLesson& lesson, size_t n, float* out);

// Adds the symbols of a row to the counts of all tables. Neighbours are counted apart, as most have
// the same symbol and a counter takes its time: `counts` has twice kEcqCounters, and Fold adds the
// second half to the first.
inline constexpr size_t kEcqCounters = kEcqTables * kRansSymbols;
void EcqCountSymbols(const EcqRow& row, uint32_t* counts);
void EcqFoldCounts(uint32_t* counts);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_ROW_CODES_H_
