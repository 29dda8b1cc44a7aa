// Codebooks: up to 256 levels in [-1, 1], times a scale per group.
#ifndef ISTHMUS_COMPRESSION_LEVELS_H_
#define ISTHMUS_COMPRESSION_LEVELS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace isthmus {

struct Levels {
  std::vector<float> values;  // rising, the largest magnitude is 1
  // Midpoints between neighbours, filled up with infinity to 2^bits - 1 entries.
  std::vector<float> borders;
  int bits = 0;
};

Levels MakeLevels(std::vector<float> rising);

// Minifloat without infinities: sign, `exponent` bits, `mantissa` bits, subnormals; 1 + e + m <= 8.
// Scaled so that the largest value is 1: the bias is the group's scale (LLM-FP4's real bias).
Levels MinifloatLevels(int exponent, int mantissa);
// The 4-bit normal float of QLoRA (arXiv 2305.14314).
Levels NormalFloat4Levels();
// 8 bits: signed powers of ten whose linear fraction shrinks as the exponent grows (8-bit
// optimizers, arXiv 2110.02861); contains 0 and 1.
Levels Dynamic8Levels();
// Zero and +-2^-k, 2^bits - 1 levels.
Levels PowerLevels(int bits);

// codes[i] = how many borders lie below x[i] * inverse: the nearest level, the lower one of two
// equally near.
void NearestLevels(const Levels& levels, const float* x, size_t n, float inverse, uint8_t* codes);
namespace reference {
uint8_t NearestLevel(const Levels& levels, float v);
}  // namespace reference

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_LEVELS_H_
