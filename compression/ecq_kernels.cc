#include "compression/ecq_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace isthmus {
namespace {

constexpr float kMostExpected = 2048.0f;
constexpr int64_t kExpectedScale = 4096;
constexpr float kLeastExpected = 0x1p-9f;

}  // namespace

void EcqMoveToward(const float* x, float share, size_t n, float* mean) {
  for (size_t i = 0; i < n; ++i) mean[i] = mean[i] + (x[i] - mean[i]) * share;
}

void EcqBlend(const float* from, const float* to, float share, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = from[i] + (to[i] - from[i]) * share;
}

void EcqAddProduct(const float* base, const float* a, const float* x, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = base[i] + a[i] * x[i];
}

void EcqAccumulate(const float* x, const float* y, size_t n, float* sum) {
  for (size_t i = 0; i < n; ++i) sum[i] = sum[i] + x[i] * y[i];
}

void EcqClassify(const float* expected, int shift, size_t n, uint8_t* classes) {
  for (size_t i = 0; i < n; ++i) classes[i] = static_cast<uint8_t>(EcqClassOf(expected[i], shift));
}

int64_t EcqSumExpected(const float* expected, size_t n) {
  int64_t sum = 0;
  for (size_t i = 0; i < n; ++i)
    sum += static_cast<int32_t>(std::min(expected[i], kMostExpected) * 4096.0f);
  return sum;
}

int64_t EcqSumCodes(const int32_t* q, size_t n) {
  int64_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::min(std::abs(q[i]), 2048) * kExpectedScale;
  return sum;
}

uint32_t EcqQuantize(const float* x, const float* prediction, const float* inverse_step,
                     const uint8_t* classes, const float* threshold_of_class, size_t n,
                     int32_t* q) {
  uint32_t most = 0;
  for (size_t i = 0; i < n; ++i) {
    const float v = (x[i] - prediction[i]) * inverse_step[i];
    const float magnitude = std::fabs(v);
    most = std::max(most, std::bit_cast<uint32_t>(magnitude));
    const float bounded = magnitude < 4194304.0f ? magnitude : 4194304.0f;
    const int32_t code =
        bounded < threshold_of_class[classes[i]] ? 0 : static_cast<int32_t>(bounded + 0.5f);
    q[i] = v < 0.0f ? -code : code;
  }
  return most;
}

uint32_t EcqQuantizeDithered(const float* x, const float* inverse_step, const float* dither,
                             size_t n, int32_t* q) {
  uint32_t most = 0;
  for (size_t i = 0; i < n; ++i) {
    const float v = x[i] * inverse_step[i] + dither[i];
    const float magnitude = std::fabs(v);
    most = std::max(most, std::bit_cast<uint32_t>(magnitude));
    const float bounded = magnitude < 4194304.0f ? magnitude : 4194304.0f;
    const int32_t code = static_cast<int32_t>(bounded + 0.5f);
    q[i] = v < 0.0f ? -code : code;
  }
  return most;
}

void EcqReconstruct(const int32_t* q, const float* prediction, const float* step,
                    const uint8_t* classes, const float* gaps, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t level = std::abs(q[i]);
    const float gap = gaps[classes[i] * 4 + std::min(level, 3)];
    const float magnitude = (static_cast<float>(level) - gap) * step[i];
    out[i] = prediction[i] + (q[i] < 0 ? -magnitude : magnitude);
  }
}

void EcqReconstructDithered(const int32_t* q, const float* step, const float* dither, size_t n,
                            float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = (static_cast<float>(q[i]) - dither[i]) * step[i];
}

void EcqLearnExpected(const int32_t* q, float share, size_t n, float* expected) {
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = static_cast<float>(std::abs(q[i]));
    const float next = expected[i] + (magnitude - expected[i]) * share;
    expected[i] = next > kLeastExpected ? next : kLeastExpected;
  }
}

double EcqRoughBits(const float* x, const float* prediction, const float* inverse_step, size_t n) {
  int64_t sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const float v = 1.0f + std::fabs(x[i] - prediction[i]) * inverse_step[i];
    sum += static_cast<int64_t>(std::bit_cast<uint32_t>(v)) - 0x3F800000;
  }
  return static_cast<double>(sum) * 0x1p-23;
}

}  // namespace isthmus
