// An int8 weight matrix W [out, in] that is trained as its codes: no fp32 copy beside them, and a
// packed matrix of kInt8 that the products of matmul.h read.
//
// W = s Q with one scale s an output channel, the smallest power of two with which the channel's
// largest magnitude is at most 127 codes. What that buys, for up to one of the eight bits:
//  - s q is exact in fp32, so that the values determine codes and scales: a matrix that is written
//    from values that were read is the same matrix, bit for bit;
//  - a channel that shrinks takes half the scale and twice the codes, which loses nothing. One that
//    saturates takes twice the scale; only its odd codes are rounded.
//
// Rounding to nearest would lose every update below half a code, and learning rates make updates of
// thousandths. Rounded up with the probability of the fraction, the codes move by the update in the
// mean (Gupta et al., "Deep Learning with Limited Numerical Precision", 2015).
//
// Not for two threads at once; reading, products included, is for any number between writes.
#ifndef ISTHMUS_KERNELS_TRAINED_CODES_H_
#define ISTHMUS_KERNELS_TRAINED_CODES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/packed_matrix.h"

namespace isthmus {

// Which element of the stored matrix is weight (channel, input): row-major [out, in], or [in, out]
// when `transposed`.
struct StoredOrder {
  int64_t out = 0, in = 0;
  bool transposed = false;
};

class TrainedCodes {
 public:
  static constexpr WeightFormatSpec kSpec = {WeightFormat::kInt8, 0};

  // PackedMatrix::PackedBytes of kSpec at `bytes`, on a multiple of 64, kept alive by the caller;
  // they are set to a matrix of zeros.
  TrainedCodes(uint8_t* bytes, const StoredOrder& order);

  const PackedMatrix& matrix() const { return matrix_; }

  // Elements first .. first + count - 1 of the stored matrix.
  void Read(int64_t first, int64_t count, float* values) const;
  // The whole stored matrix, each value rounded to nearest. kInvalidArgument, and nothing changes,
  // for a value that is not finite.
  absl::Status Write(const float* values);
  // The same, rounded at random: the draw of weight (channel, input) is a function of `key`,
  // channel and input alone. A value that is a code already stays one. A channel with a value that
  // is not finite becomes NaN.
  void WriteAtRandom(const float* values, uint64_t key);

 private:
  // `key` null: to nearest.
  void WriteChannel(int64_t channel, const float* values, const uint64_t* key);
  // Codes of values times `inverse`; returns the largest magnitude.
  int WriteCodes(int64_t channel, const float* values, double inverse, const uint64_t* key);
  uint8_t* Code(int64_t channel, int64_t input) const;
  // Where the channel's values lie in the stored order, and how far from each other.
  int64_t Begin(int64_t channel) const;
  int64_t Stride() const { return order_.transposed ? order_.out : 1; }

  StoredOrder order_;
  PackedMatrix matrix_;
  uint8_t* codes_ = nullptr;
  float* scales_ = nullptr;
};

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_TRAINED_CODES_H_
