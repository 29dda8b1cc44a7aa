// The inner loops of ecq over the channels of one row. Element-wise IEEE single operations in the
// written order and sums of integers: every instruction set gives the same bits.
#ifndef ISTHMUS_COMPRESSION_ECQ_KERNELS_H_
#define ISTHMUS_COMPRESSION_ECQ_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "compression/ecq_tables.h"
#include "compression/kernels.h"

namespace isthmus {

// mean += (x - mean) * share
void EcqMoveToward(const float* x, float share, size_t n, float* mean);

// out = from + (to - from) * share
void EcqBlend(const float* from, const float* to, float share, size_t n, float* out);

// out = base + a * x
void EcqAddProduct(const float* base, const float* a, const float* x, size_t n, float* out);

// sum += x * y
void EcqAccumulate(const float* x, const float* y, size_t n, float* sum);

// y = x - base; with d = before * scale and e = y * scale: sum_dd += d * d, sum_de += d * e; before
// = y.
void EcqLearnShift(const float* x, const float* base, float scale, size_t n, float* before,
                   float* sum_dd, float* sum_de);

// out = base + factor * before, where base = mean + (slot - mean) * blend, or mean without a slot.
struct EcqPredictor {
  const float* mean;
  const float* slot;  // null: none
  float blend;
  const float* factor;
  const float* before;  // the row before's distance from its base
};
void EcqPredict(const EcqPredictor& from, size_t n, float* out);

// What a decoded forward row leaves behind, by channel. Reads the codes, writes the row:
//   out = prediction + sign(q) * (|q| - gap) * step, where gap is gaps[(min(|q|, 3) - 1) * 32 +
//   class mod 32], 0 for q = 0
//   expected += (|q| - expected) * expected_share, never below 2^-9
//   y = out - base; with d = before * inverse_step and e = y * inverse_step: sum_dd += d * d,
//   sum_de += d * e (not without sums); before = y
//   mean += (out - mean) * mean_share, slot the same with slot_share
struct EcqLesson {
  const int32_t* q;
  const uint8_t* classes;
  const float* prediction;  // null: what `from` gives
  EcqPredictor from;        // its slot is `slot`
  const float* step;
  const float* gaps;
  float* expected;
  float expected_share;
  float* mean;
  float mean_share;
  float* slot;  // null: none
  float slot_share;
  float* before;  // null: the row says nothing about the next one
  float* sum_dd;  // null: not counted
  float* sum_de;
  float inverse_step;
};
// Returns the bits of the largest magnitude of the row.
uint32_t EcqLearnRow(const EcqLesson& lesson, size_t n, float* out);

// out = (q - dither) * step; expected as above. Returns the bits of the largest magnitude.
uint32_t EcqLearnDitheredRow(const int32_t* q, const float* step, const float* dither, float share,
                             size_t n, float* expected, float* out);

// By channel, over rows of n values that begin `stride` values apart, row by row: sums += x,
// squares
// += x * x. Returns the extent of all of them, as ScanExtent does.
Extent EcqAddMoments(const float* x, size_t rows, size_t stride, size_t n, double* sums,
                     double* squares);

// Sum of the squares of (x - x_hat) * inverse_step, about: only for choices that are sent.
double EcqSquaredMiss(const float* x, const float* x_hat, const float* inverse_step, size_t n);

// Bits that the distance of x from a prediction costs, roughly: the sum over log2(1 + |x -
// prediction| * inverse_step). Of many channels every second 32 are looked at. Only for choices
// that are sent.
inline constexpr size_t kEcqSampledRough = 256;
double EcqRoughBits(const float* x, const float* prediction, const float* inverse_step, size_t n);

// The same for what two predictors would give: with their slots, and from the means alone.
struct EcqRoughChoice {
  double mean = 0.0, slot = 0.0;
};
EcqRoughChoice EcqRoughBitsOf(const float* x, const EcqPredictor& from, const float* inverse_step,
                              size_t n);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_KERNELS_H_
