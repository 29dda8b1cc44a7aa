// What one place of a row is, by itself: the scalar definitions behind ecq_row_codes.h.
#ifndef ISTHMUS_COMPRESSION_ECQ_ROW_PLACES_H_
#define ISTHMUS_COMPRESSION_ECQ_ROW_PLACES_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "compression/ecq_raw_codes.h"
#include "compression/ecq_row_codes.h"

namespace isthmus {

inline constexpr float kEcqReach = 4194304.0f;  // kEcqLargestCode
inline constexpr float kEcqMostCounted = 2048.0f;
inline constexpr float kEcqActivityUnits = 4096.0f;

// The whole number nearest to v, which is from 0 to 2^23: the lower bits of a sum beyond 2^23, at a
// fraction of what a conversion costs that minds values out of range.
inline constexpr float kEcqWhole = 8388608.0f;
inline int32_t EcqNearest(float v) {
  return std::bit_cast<int32_t>(v + kEcqWhole) - std::bit_cast<int32_t>(kEcqWhole);
}

inline int32_t EcqExpectedUnits(float expected) {
  return EcqNearest(std::min(expected, kEcqMostCounted) * kEcqActivityUnits);
}
inline int32_t EcqActivityOf(int32_t q) {
  return std::min(std::abs(q), static_cast<int32_t>(kEcqMostCounted));
}

// A place's distance from its prediction in steps, or the place in steps and its dither.
inline float EcqStepsAt(const EcqRowInput& input, size_t i, float prediction) {
  if (input.dither == nullptr) return (input.x[i] - prediction) * input.inverse_step[i];
  const float product = input.x[i] * input.inverse_step[i];
  return product + input.dither[i];
}

// The code of a place of v steps; *most grows to its magnitude before rounding.
inline int32_t EcqCodeOf(float v, float threshold, uint32_t* most) {
  const float magnitude = std::fabs(v);
  *most = std::max(*most, std::bit_cast<uint32_t>(magnitude));
  const float bounded = magnitude < kEcqReach ? magnitude : kEcqReach;
  const int32_t code = bounded >= threshold ? EcqNearest(bounded) : 0;
  return v < 0.0f ? -code : code;
}
inline float EcqThreshold(const EcqRowInput& input, uint32_t limit) {
  return input.dither != nullptr ? 0.0f : std::bit_cast<float>(limit & ~uint32_t{63});
}

// The op of a code; what its table does not hold goes to raw.
inline uint16_t EcqOpOf(int cls, int32_t q, RawBitWriter* raw) {
  const int symbol = EcqIsFar(cls, q) ? EcqPutFarCode(cls, q, raw) : q + kEcqZero;
  return static_cast<uint16_t>(EcqTableOf(cls) * static_cast<int>(kRansSymbols) + symbol);
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_ROW_PLACES_H_
