// Scalar definitions of kernels.h: what the words mean, one value at a time. Tests hold every
// instruction set against them.
#ifndef ISTHMUS_COMPRESSION_REFERENCE_H_
#define ISTHMUS_COMPRESSION_REFERENCE_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "compression/group_format.h"

namespace isthmus::reference {

// One value to its code. Adding 2^23 leaves no fraction bits, so the fp32 adder rounds to nearest,
// ties to even.
inline uint8_t Quantize(float x, const GroupParameters& p, float noise) {
  float v = (x - p.from) * p.inverse;
  v = v + p.offset;
  v = v + noise;
  v = v > 0.0f ? v : 0.0f;
  v = v < p.top ? v : p.top;
  return static_cast<uint8_t>(std::bit_cast<uint32_t>(v + 8388608.0f) & 0xFFu);
}
inline float Dequantize(uint8_t code, const GroupParameters& p) {
  const float product = static_cast<float>(code) * p.scale;
  return p.base + product;
}
// The odd multiple of 2^-25 in (-1/2, 1/2) that the upper 24 bits of a random word select.
inline float CentredNoise(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f - (0.5f - 0x1p-25f);
}

Extent ScanExtent(const float* x, size_t n);
uint32_t QuantizeRow(const float* x, size_t n, size_t tile, const GroupFormat& format,
                     const float* noise, uint8_t* parameters, uint8_t* codes);
float SquaredError(const float* x, size_t n, const GroupParameters& p);
bool DequantizeRow(const uint8_t* codes, size_t n, size_t tile, const GroupFormat& format,
                   const uint8_t* parameters, float* out);
// 1 / sqrt(block) to the nearest fp32: a power of two, or one times sqrt(1/2).
inline float HadamardFactor(size_t block) {
  float factor = 1.0f;
  for (; block >= 4; block /= 4) factor *= 0.5f;
  return block == 2 ? factor * 0.707106781186547524f : factor;
}
void HadamardRow(float* x, size_t n, size_t block);
void PackBits(const uint8_t* codes, size_t n, int bits, uint8_t* out);
void UnpackBits(const uint8_t* in, size_t n, int bits, uint8_t* codes);
uint32_t Bf16FromFloats(const float* x, size_t n, uint16_t* out);
uint32_t FloatsFromBf16(const uint16_t* in, size_t n, float* out);
uint32_t HalfFromFloats(const float* x, size_t n, float factor, uint16_t* out);
uint32_t FloatsFromHalf(const uint16_t* in, size_t n, float factor, float* out);
void FillNoise(uint64_t key, uint64_t first, uint64_t high, size_t n, float* noise);

}  // namespace isthmus::reference

#endif  // ISTHMUS_COMPRESSION_REFERENCE_H_
