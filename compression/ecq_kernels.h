// The inner loops of ecq over the channels of one row. Element-wise IEEE single operations in the
// written order and sums of integers: every instruction set gives the same bits.
#ifndef ISTHMUS_COMPRESSION_ECQ_KERNELS_H_
#define ISTHMUS_COMPRESSION_ECQ_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "compression/ecq_tables.h"

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

// Classes of n places whose expected magnitudes are `expected`, moved by `shift` half octaves.
void EcqClassify(const float* expected, int shift, size_t n, uint8_t* classes);

// Sum over min(expected, 2048) in units of 2^-12, each rounded down. n <= 64.
int64_t EcqSumExpected(const float* expected, size_t n);
// The same of codes: sum over min(|q|, 2048) in units of 2^-12. n <= 64.
int64_t EcqSumCodes(const int32_t* q, size_t n);

// q = the code nearest to (x - prediction) * inverse_step, or 0 where its magnitude is below the
// class's threshold. Returns the bits of the largest magnitude before rounding; q is of no use
// where that exceeds kEcqLargestCode.
uint32_t EcqQuantize(const float* x, const float* prediction, const float* inverse_step,
                     const uint8_t* classes, const float* threshold_of_class, size_t n, int32_t* q);
// q = the code nearest to x * inverse_step + dither
uint32_t EcqQuantizeDithered(const float* x, const float* inverse_step, const float* dither,
                             size_t n, int32_t* q);

// out = prediction + sign(q) * (|q| - gap) * step, where gap is gaps[class * 4 + min(|q|, 3)].
void EcqReconstruct(const int32_t* q, const float* prediction, const float* step,
                    const uint8_t* classes, const float* gaps, size_t n, float* out);
// out = (q - dither) * step
void EcqReconstructDithered(const int32_t* q, const float* step, const float* dither, size_t n,
                            float* out);

// expected += (|q| - expected) * share, never below 2^-9
void EcqLearnExpected(const int32_t* q, float share, size_t n, float* expected);

// Sum of the squares of (x - x_hat) * inverse_step, about: only for choices that are sent.
double EcqSquaredMiss(const float* x, const float* x_hat, const float* inverse_step, size_t n);

// Bits that the distance of x from a prediction costs, roughly: the sum over log2(1 + |x -
// prediction| * inverse_step). Only for choices that are sent.
double EcqRoughBits(const float* x, const float* prediction, const float* inverse_step, size_t n);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_KERNELS_H_
