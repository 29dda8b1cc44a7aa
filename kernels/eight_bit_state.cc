// The 8-bit optimizer state of optimizer_step.h.
#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/optimizer_step.h"

namespace isthmus::kernels {
namespace {

using Codebook = std::array<float, 256>;  // ascending

// Decade 10^-e for e = 0 .. 6 holds 64 / 2^e fractions (twice as many without a sign), the middles
// of equal parts of [0.1, 1]; zero and one complete the 256.
Codebook MakeCodebook(StateSign sign) {
  Codebook codes{};
  size_t at = 0;
  for (int decade = 0; decade < 7; ++decade) {
    const int parts = (sign == StateSign::kSigned ? 64 : 128) >> decade;
    for (int i = 0; i < parts; ++i) {
      const double fraction = 0.1 + 0.9 * (i + 0.5) / parts;
      const float value = static_cast<float>(fraction * std::pow(10.0, -decade));
      codes[at++] = value;
      if (sign == StateSign::kSigned) codes[at++] = -value;
    }
  }
  codes[at++] = 0.0f;
  codes[at++] = 1.0f;
  std::sort(codes.begin(), codes.end());
  return codes;
}

const Codebook& CodebookOf(StateSign sign) {
  static const Codebook with_sign = MakeCodebook(StateSign::kSigned);
  static const Codebook without = MakeCodebook(StateSign::kUnsigned);
  return sign == StateSign::kSigned ? with_sign : without;
}

uint8_t NearestCode(const Codebook& codes, float value) {
  const auto above = std::lower_bound(codes.begin(), codes.end(), value);
  if (above == codes.begin()) return 0;
  if (above == codes.end()) return 255;
  const auto below = above - 1;
  return static_cast<uint8_t>((*above - value < value - *below ? above : below) - codes.begin());
}

void EncodeBlock(StateSign sign, const float* values, int64_t count, uint8_t* codes, float* scale) {
  const Codebook& book = CodebookOf(sign);
  float largest = 0.0f;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i]));
  // The signed book has one and not minus one: the scale carries the sign of the largest.
  const auto by_magnitude = [](float a, float b) { return std::abs(a) < std::abs(b); };
  *scale = largest == 0.0f ? 0.0f : *std::max_element(values, values + count, by_magnitude);
  for (int64_t i = 0; i < count; ++i) {
    codes[i] = NearestCode(book, largest == 0.0f ? 0.0f : values[i] / *scale);
    if (sign == StateSign::kUnsigned && codes[i] == 0 && values[i] > 0.0f) codes[i] = 1;
  }
}

}  // namespace

int64_t StateBlocks(int64_t count) { return (count + kStateBlock - 1) / kStateBlock; }

void EncodeState(StateSign sign, const float* values, int64_t count, const EightBitState& state) {
  for (int64_t first = 0, block = 0; first < count; first += kStateBlock, ++block) {
    EncodeBlock(sign, values + first, std::min(kStateBlock, count - first), state.codes + first,
                state.scales + block);
  }
}

void DecodeState(StateSign sign, const EightBitState& state, int64_t count, float* values) {
  const Codebook& book = CodebookOf(sign);
  for (int64_t i = 0; i < count; ++i)
    values[i] = book[state.codes[i]] * state.scales[i / kStateBlock];
}

void AdamW8Bit(const AdamWStep& step, int64_t count, const float* gradients, float* values,
               const EightBitState& means, const EightBitState& squares) {
  float m[kStateBlock], v[kStateBlock];
  for (int64_t first = 0, block = 0; first < count; first += kStateBlock, ++block) {
    const int64_t n = std::min(kStateBlock, count - first);
    const EightBitState mean = {means.codes + first, means.scales + block};
    const EightBitState square = {squares.codes + first, squares.scales + block};
    DecodeState(StateSign::kSigned, mean, n, m);
    DecodeState(StateSign::kUnsigned, square, n, v);
    AdamW(step, n, gradients + first, values + first, m, v);
    EncodeState(StateSign::kSigned, m, n, mean);
    EncodeState(StateSign::kUnsigned, v, n, square);
  }
}

}  // namespace isthmus::kernels
