#include "compression/reference.h"

#include <algorithm>
#include <cstring>

#include "base/rng.h"
#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"

namespace isthmus::reference {

Extent ScanExtent(const float* x, size_t n) {
  Extent extent;
  if (n > 0) extent.lo = extent.hi = x[0];
  for (size_t i = 0; i < n; ++i) {
    extent.lo = x[i] < extent.lo ? x[i] : extent.lo;
    extent.hi = x[i] > extent.hi ? x[i] : extent.hi;
    extent.magnitude = std::max(extent.magnitude, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu);
  }
  return extent;
}

uint32_t QuantizeRow(const float* x, size_t n, size_t tile, const GroupFormat& format,
                     const float* noise, uint8_t* parameters, uint8_t* codes) {
  uint32_t magnitude = 0;
  for (size_t begin = 0; begin < n; begin += tile) {
    const size_t length = std::min(tile, n - begin);
    const Extent extent = ScanExtent(x + begin, length);
    magnitude = std::max(magnitude, extent.magnitude);
    if (magnitude > kLargestMagnitude) return magnitude;
    const GroupParameters p = FitRange(format, extent, x + begin, length);
    StoreParameters(format, p, parameters);
    parameters += format.ParameterBytes();
    for (size_t i = begin; i < begin + length; ++i)
      codes[i] = Quantize(x[i], p, noise ? noise[i] : 0.0f);
  }
  return magnitude;
}

float SquaredError(const float* x, size_t n, const GroupParameters& p) {
  float sums[16] = {};
  for (size_t i = 0; i < n; ++i) {
    const float error = x[i] - Dequantize(Quantize(x[i], p, 0.0f), p);
    const float square = error * error;
    sums[i % 16] += square;
  }
  float total = 0.0f;
  for (float sum : sums) total += sum;
  return total;
}

bool DequantizeRow(const uint8_t* codes, size_t n, size_t tile, const GroupFormat& format,
                   const uint8_t* parameters, float* out) {
  for (size_t begin = 0; begin < n; begin += tile, parameters += format.ParameterBytes()) {
    GroupParameters p;
    if (!LoadParameters(format, parameters, &p)) return false;
    for (size_t i = begin; i < std::min(n, begin + tile); ++i) out[i] = Dequantize(codes[i], p);
  }
  return true;
}

void HadamardRow(float* x, size_t n, size_t block) {
  while (n > 0) {
    while (block > n) block /= 2;
    for (size_t distance = 1; distance < block; distance *= 2) {
      for (size_t i = 0; i < block; ++i) {
        if ((i & distance) != 0) continue;
        const float a = x[i], b = x[i + distance];
        x[i] = a + b;
        x[i + distance] = a - b;
      }
    }
    const float factor = HadamardFactor(block);
    for (size_t i = 0; i < block; ++i) x[i] *= factor;
    x += block;
    n -= block;
  }
}

void PackBits(const uint8_t* codes, size_t n, int bits, uint8_t* out) {
  std::memset(out, 0, PackedBytes(n, bits));
  for (size_t i = 0; i < n; ++i)
    for (int k = 0; k < bits; ++k) {
      const size_t at = i * static_cast<size_t>(bits) + static_cast<size_t>(k);
      out[at / 8] = static_cast<uint8_t>(out[at / 8] | ((codes[i] >> k) & 1) << (at % 8));
    }
}

void UnpackBits(const uint8_t* in, size_t n, int bits, uint8_t* codes) {
  for (size_t i = 0; i < n; ++i) {
    int code = 0;
    for (int k = 0; k < bits; ++k) {
      const size_t at = i * static_cast<size_t>(bits) + static_cast<size_t>(k);
      code |= ((in[at / 8] >> (at % 8)) & 1) << k;
    }
    codes[i] = static_cast<uint8_t>(code);
  }
}

uint32_t Bf16FromFloats(const float* x, size_t n, uint16_t* out) {
  uint32_t magnitude = 0;
  for (size_t i = 0; i < n; ++i) {
    magnitude = std::max(magnitude, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu);
    out[i] = Bf16FromFloat(x[i]);
  }
  return magnitude;
}

uint32_t FloatsFromBf16(const uint16_t* in, size_t n, float* out) {
  uint32_t magnitude = 0;
  for (size_t i = 0; i < n; ++i) {
    magnitude = std::max<uint32_t>(magnitude, in[i] & 0x7FFFu);
    out[i] = FloatFromBf16(in[i]);
  }
  return magnitude;
}

uint32_t HalfFromFloats(const float* x, size_t n, float factor, uint16_t* out) {
  uint32_t magnitude = 0;
  for (size_t i = 0; i < n; ++i) {
    magnitude = std::max(magnitude, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu);
    out[i] = HalfFromFloat(x[i] * factor);
  }
  return magnitude;
}

uint32_t FloatsFromHalf(const uint16_t* in, size_t n, float factor, float* out) {
  uint32_t magnitude = 0;
  for (size_t i = 0; i < n; ++i) {
    magnitude = std::max<uint32_t>(magnitude, in[i] & 0x7FFFu);
    out[i] = FloatFromHalf(in[i]) * factor;
  }
  return magnitude;
}

void FillNoise(uint64_t key, uint64_t first, uint64_t high, size_t n, float* noise) {
  for (size_t i = 0; i < n; i += 4) {
    const std::array<uint32_t, 4> words = Philox(key, (first + i) / 4, high);
    for (size_t k = 0; k < std::min<size_t>(4, n - i); ++k) noise[i + k] = CentredNoise(words[k]);
  }
}

}  // namespace isthmus::reference
