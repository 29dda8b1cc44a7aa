// bf16 and IEEE half as bit patterns: the scalar definitions that every other form must equal bit
// for bit.
#ifndef ISTHMUS_COMPRESSION_HALF_FLOAT_H_
#define ISTHMUS_COMPRESSION_HALF_FLOAT_H_

#include <bit>
#include <cmath>
#include <cstdint>

namespace isthmus {

inline float FloatFromBf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Nearest, ties to even. |x| <= 2^126.
inline uint16_t Bf16FromFloat(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// The bf16 next to x on the side of zero (the upper half of the bits, cut off).
inline uint16_t Bf16TowardZero(float x) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16);
}

// The smallest bf16 >= x and the largest bf16 <= x; |x| <= 2^127. Results below 2^-126 in magnitude
// become 0 or the normal number next to it, so that no stored parameter is subnormal.
inline float Bf16Ceiling(double x) {
  constexpr float kTiny = 0x1p-126f;
  if (x <= 0 && x > -kTiny) return 0.0f;
  if (x > 0 && x < kTiny) return kTiny;
  uint16_t bits = Bf16TowardZero(static_cast<float>(x));
  if (FloatFromBf16(bits) < x) bits = static_cast<uint16_t>(x > 0 ? bits + 1 : bits - 1);
  return FloatFromBf16(bits);
}
inline float Bf16Floor(double x) { return 0.0f - Bf16Ceiling(-x); }

inline constexpr uint32_t kHalfLargest = 0x7BFFu;  // 65504
inline constexpr uint32_t kHalfOverflow =
    0x477FF000u;  // 65520 as fp32 bits: from here on half would round to infinity

// Nearest, ties to even; beyond the range the largest half.
inline uint16_t HalfFromFloat(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  uint32_t half;
  if (magnitude >= kHalfOverflow) {
    half = kHalfLargest;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 lets the fp32 adder round to
                                         // multiples of 2^-24
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  } else {  // exponent bias 127 -> 15, then the 13 lower bits are rounded away
    half = (magnitude + 0xC8000FFFu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

inline float FloatFromHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t rest = half & 0x7FFFu;
  if (rest < 0x0400u) {  // subnormal: rest * 2^-24, exact in fp32
    return std::bit_cast<float>(sign |
                                std::bit_cast<uint32_t>(static_cast<float>(rest) * 0x1p-24f));
  }
  return std::bit_cast<float>(sign | ((rest << 13) + 0x38000000u));
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_HALF_FLOAT_H_
