#include "kernels/quantize_weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace isthmus {
namespace {

// 16 quantiles of a normal distribution, each of equal probability mass, 0 and both ends exact
// (Dettmers et al., "QLoRA", 2023, appendix E).
constexpr std::array<float, 16> kNf4 = {-1.0f,        -0.69619280f, -0.52507305f,  -0.39491749f,
                                        -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
                                        0.079580300f, 0.16093020f,  0.24611230f,   0.33791524f,
                                        0.44070983f,  0.56261700f,  0.72295684f,   1.0f};

// A minifloat without infinities: sign, `exponent_bits`, `mantissa_bits`, the usual bias.
float Minifloat(int code, int exponent_bits, int mantissa_bits) {
  const int mantissa = code & ((1 << mantissa_bits) - 1);
  const int exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissa_bits)
                              : std::ldexp(static_cast<float>(mantissa + (1 << mantissa_bits)),
                                           exponent - bias - mantissa_bits);
  return (code >> (exponent_bits + mantissa_bits)) != 0 ? -magnitude : magnitude;
}

std::array<float, 256> MakeFp8() {
  std::array<float, 256> table;
  for (int i = 0; i < 256; ++i) table[i] = Minifloat(i, 4, 3);
  // E4M3 keeps its two all-ones patterns for NaN; a weight never is one, and a file that holds
  // them decodes to 0.
  table[0x7F] = table[0xFF] = 0.0f;
  return table;
}

std::array<float, 16> MakeFp4() {
  std::array<float, 16> table;
  for (int i = 0; i < 16; ++i) table[i] = Minifloat(i, 2, 1);
  return table;
}

float LargestMagnitude(absl::Span<const float> x) {
  float largest = 0.0f;
  for (float v : x) largest = std::max(largest, std::fabs(v));
  return largest;
}

float TableMax(absl::Span<const float> table) { return LargestMagnitude(table); }

int RoundClamped(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (!(value < static_cast<float>(high))) return high;
  return static_cast<int>(std::nearbyint(value));
}

double SquaredError(absl::Span<const float> x, float scale, WeightFormat format) {
  double sum = 0.0;
  for (float v : x) {
    const double error = static_cast<double>(v) - ValueOf(CodeOf(v, scale, format), scale, format);
    sum += error * error;
  }
  return sum;
}

// Codes are -8..7: the extreme value of the larger side takes -8, so a scale may be negative.
// Clipping it a little costs less than the wider step for most groups: the best of 17 is taken.
float FitInt4Scale(absl::Span<const float> x) {
  float extreme = 0.0f;
  for (float v : x) {
    if (std::fabs(v) > std::fabs(extreme)) extreme = v;
  }
  float best = 0.0f;
  double best_error = -1.0;
  for (int i = 0; i < 17; ++i) {
    const float levels = -6.8f - 0.1f * static_cast<float>(i);  // -6.8 .. -8.4
    const float scale = FloatOfBf16(Bf16OfFloat(extreme / levels));
    const double error = SquaredError(x, scale, WeightFormat::kInt4Group);
    if (best_error >= 0.0 && error >= best_error) continue;
    best = scale;
    best_error = error;
  }
  return best;
}

// Level 1: 8-bit codes of the channel within +-119, so that level 2 (u4 - zero) * scale stays
// within 8 bits: a group of range r has scale ceil(r / 15) <= 16, and rounding moves a restored
// code by at most 8 = 127 - 119.
ChannelCodes QuantizeProgressive(absl::Span<const float> weights, int group) {
  ChannelCodes channel;
  const float scale = LargestMagnitude(weights) / 119.0f;
  channel.scales = {scale};
  channel.codes.resize(weights.size());
  for (size_t begin = 0; begin < weights.size(); begin += group) {
    const auto part = weights.subspan(begin, group);
    std::vector<int> q;
    for (float v : part) q.push_back(scale > 0 ? RoundClamped(v / scale, -119, 119) : 0);
    const int low = std::min(0, *std::min_element(q.begin(), q.end()));
    const int high = std::max(0, *std::max_element(q.begin(), q.end()));
    const int step = std::max(1, (high - low + 14) / 15);
    const int zero = (-low + step / 2) / step;
    channel.level2.push_back(static_cast<uint8_t>(step));
    channel.zeros.push_back(static_cast<uint8_t>(zero));
    for (size_t i = 0; i < part.size(); ++i) {
      const float exact = scale > 0 ? part[i] / scale / static_cast<float>(step) : 0.0f;
      channel.codes[begin + i] =
          static_cast<uint8_t>(RoundClamped(exact + static_cast<float>(zero), 0, 15));
    }
  }
  return channel;
}

}  // namespace

float FloatOfBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t Bf16OfFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

absl::Span<const float> CodeTable(WeightFormat format) {
  static const std::array<float, 256> fp8 = MakeFp8();
  static const std::array<float, 16> fp4 = MakeFp4();
  if (format == WeightFormat::kNf4Group) return kNf4;
  if (format == WeightFormat::kFp4Group) return fp4;
  ISTHMUS_CHECK(format == WeightFormat::kFp8);
  return fp8;
}

float FitScale(absl::Span<const float> weights, const WeightFormatSpec& spec) {
  switch (spec.format) {
    case WeightFormat::kInt8:
      return LargestMagnitude(weights) / 127.0f;
    case WeightFormat::kInt8Group:
      // 126.5: the stored scale may be 0.4 % smaller than the exact one.
      return FloatOfBf16(Bf16OfFloat(LargestMagnitude(weights) / 126.5f));
    case WeightFormat::kInt4Group:
      return FitInt4Scale(weights);
    case WeightFormat::kFp8:
      return LargestMagnitude(weights) / TableMax(CodeTable(spec.format));
    case WeightFormat::kNf4Group:
    case WeightFormat::kFp4Group:
      return FloatOfBf16(Bf16OfFloat(LargestMagnitude(weights) / TableMax(CodeTable(spec.format))));
    default:
      ISTHMUS_CHECK(false);
  }
}

uint8_t CodeOf(float weight, float scale, WeightFormat format) {
  const float exact = scale != 0.0f ? weight / scale : 0.0f;
  switch (format) {
    case WeightFormat::kInt8:
    case WeightFormat::kInt8Group:
      return static_cast<uint8_t>(RoundClamped(exact, -127, 127));
    case WeightFormat::kInt4Group:
      return static_cast<uint8_t>(RoundClamped(exact, -8, 7) + 8);
    default:
      break;
  }
  const absl::Span<const float> table = CodeTable(format);
  size_t best = 0;
  for (size_t i = 1; i < table.size(); ++i) {
    if (std::fabs(table[i] - exact) < std::fabs(table[best] - exact)) best = i;
  }
  return static_cast<uint8_t>(best);
}

float ValueOf(uint8_t code, float scale, WeightFormat format) {
  switch (format) {
    case WeightFormat::kInt8:
    case WeightFormat::kInt8Group:
      return static_cast<float>(static_cast<int8_t>(code)) * scale;
    case WeightFormat::kInt4Group:
      return static_cast<float>(static_cast<int>(code) - 8) * scale;
    default:
      return CodeTable(format)[code] * scale;
  }
}

ChannelCodes QuantizeChannel(absl::Span<const float> weights, const WeightFormatSpec& spec) {
  if (spec.format == WeightFormat::kProgressive4) return QuantizeProgressive(weights, spec.group);
  ISTHMUS_CHECK(CodeBits(spec.format) <= 8);
  ChannelCodes channel;
  const size_t group = HasGroups(spec.format) ? spec.group : weights.size();
  for (size_t begin = 0; begin < weights.size(); begin += group) {
    const auto part = weights.subspan(begin, group);
    const float scale = FitScale(part, spec);
    channel.scales.push_back(scale);
    for (float v : part) channel.codes.push_back(CodeOf(v, scale, spec.format));
  }
  return channel;
}

}  // namespace isthmus
