// What one place of a decoded row leaves behind, by itself: the scalar definitions behind
// EcqLearnRow and EcqPredict.
#ifndef ISTHMUS_COMPRESSION_ECQ_LEARN_PLACES_H_
#define ISTHMUS_COMPRESSION_ECQ_LEARN_PLACES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "compression/ecq_kernels.h"

namespace isthmus {

inline constexpr float kEcqLeastExpected = 0x1p-9f;

inline float EcqBaseAt(const EcqPredictor& from, size_t i) {
  if (from.slot == nullptr) return from.mean[i];
  const float change = (from.slot[i] - from.mean[i]) * from.blend;
  return from.mean[i] + change;
}

inline float EcqPredictedAt(const EcqPredictor& from, size_t i) {
  const float carried = from.factor[i] * from.before[i];
  return EcqBaseAt(from, i) + carried;
}

inline float EcqMovedAt(float x, float to, float share) {
  const float change = (to - x) * share;
  return x + change;
}

inline float EcqLearnedAt(float expected, int32_t q, float share) {
  const float next = EcqMovedAt(expected, static_cast<float>(std::abs(q)), share);
  return next > kEcqLeastExpected ? next : kEcqLeastExpected;
}

inline float EcqDecodedAt(const EcqLesson& l, size_t i) {
  const float prediction = l.prediction == nullptr ? EcqPredictedAt(l.from, i) : l.prediction[i];
  const int32_t level = std::abs(l.q[i]);
  const int of_class = l.classes[i] & 31;
  const float gap = level > 0 ? l.gaps[(std::min(level, 3) - 1) * 32 + of_class] : 0.0f;
  const float change = (static_cast<float>(level) - gap) * l.step[i];
  return prediction + (l.q[i] < 0 ? -change : change);
}

// Returns the magnitude of the value.
inline float EcqLearnPlace(const EcqLesson& l, size_t i, float* out) {
  const float x = out[i] = EcqDecodedAt(l, i);
  l.expected[i] = EcqLearnedAt(l.expected[i], l.q[i], l.expected_share);
  if (l.before != nullptr) {
    const float y = x - EcqBaseAt(l.from, i);
    if (l.sum_dd != nullptr) {
      const float before = l.before[i] * l.inverse_step, now = y * l.inverse_step;
      const float square = before * before, product = before * now;
      l.sum_dd[i] = l.sum_dd[i] + square;
      l.sum_de[i] = l.sum_de[i] + product;
    }
    l.before[i] = y;
  }
  if (l.slot != nullptr) l.slot[i] = EcqMovedAt(l.slot[i], x, l.slot_share);
  l.mean[i] = EcqMovedAt(l.mean[i], x, l.mean_share);
  return std::fabs(x);
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_LEARN_PLACES_H_
