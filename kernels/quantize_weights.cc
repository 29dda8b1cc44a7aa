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

float StoredScale(float scale) { return FloatOfBf16(Bf16OfFloat(scale)); }

// Codes are -8..7: the extreme value of the larger side takes -8, so a scale may be negative.
// Clipping it a little costs less than the wider step for most groups.
std::vector<GroupGrid> Int4Grids(absl::Span<const float> group) {
  float extreme = 0.0f;
  for (float v : group) {
    if (std::fabs(v) > std::fabs(extreme)) extreme = v;
  }
  std::vector<GroupGrid> grids;
  for (int i = 0; i < 17; ++i) {
    const float levels = -6.8f - 0.1f * static_cast<float>(i);  // -6.8 .. -8.4
    grids.push_back({WeightFormat::kInt4Group, StoredScale(extreme / levels)});
  }
  return grids;
}

// Level 1: 8-bit codes of the channel within +-119, so that level 2 (u4 - zero) * step stays
// within 8 bits: a group of range r has step ceil(r / 15) <= 16, and rounding moves a restored
// code by at most 8 = 127 - 119.
GroupGrid ProgressiveGrid(absl::Span<const float> group, float scale) {
  int low = 0, high = 0;
  for (float v : group) {
    const int q = scale > 0 ? RoundClamped(v / scale, -119, 119) : 0;
    low = std::min(low, q);
    high = std::max(high, q);
  }
  const int step = std::max(1, (high - low + 14) / 15);
  return {WeightFormat::kProgressive4, scale, step, (-low + step / 2) / step};
}

double SquaredError(absl::Span<const float> group, const GroupGrid& grid) {
  double sum = 0.0;
  for (float v : group) {
    const double error = static_cast<double>(v) - grid.ValueOf(grid.CodeOf(v));
    sum += error * error;
  }
  return sum;
}

GroupGrid BestGrid(absl::Span<const float> group, const std::vector<GroupGrid>& grids) {
  size_t best = 0;
  double best_error = grids.size() > 1 ? SquaredError(group, grids[0]) : 0.0;
  for (size_t i = 1; i < grids.size(); ++i) {
    const double error = SquaredError(group, grids[i]);
    if (error >= best_error) continue;
    best = i;
    best_error = error;
  }
  return grids[best];
}

uint8_t NearestInTable(absl::Span<const float> table, float exact) {
  size_t best = 0;
  for (size_t i = 1; i < table.size(); ++i) {
    if (std::fabs(table[i] - exact) < std::fabs(table[best] - exact)) best = i;
  }
  return static_cast<uint8_t>(best);
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

uint8_t GroupGrid::CodeOf(float weight) const {
  const float exact = scale != 0.0f ? weight / scale : 0.0f;
  switch (format) {
    case WeightFormat::kInt8:
    case WeightFormat::kInt8Group:
      return static_cast<uint8_t>(RoundClamped(exact, -127, 127));
    case WeightFormat::kInt4Group:
      return static_cast<uint8_t>(RoundClamped(exact, -8, 7) + 8);
    case WeightFormat::kProgressive4:
      return static_cast<uint8_t>(
          RoundClamped(exact / static_cast<float>(step) + static_cast<float>(zero), 0, 15));
    default:
      return NearestInTable(CodeTable(format), exact);
  }
}

float GroupGrid::ValueOf(uint8_t code) const {
  if (format != WeightFormat::kProgressive4) return isthmus::ValueOf(code, scale, format);
  return static_cast<float>((static_cast<int>(code) - zero) * step) * scale;
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

float ChannelScale(absl::Span<const float> weights, const WeightFormatSpec& spec) {
  switch (spec.format) {
    case WeightFormat::kInt8:
      return LargestMagnitude(weights) / 127.0f;
    case WeightFormat::kProgressive4:
      return LargestMagnitude(weights) / 119.0f;
    case WeightFormat::kFp8:
      return LargestMagnitude(weights) / TableMax(CodeTable(spec.format));
    default:
      return 0.0f;
  }
}

std::vector<GroupGrid> CandidateGrids(absl::Span<const float> group, const WeightFormatSpec& spec,
                                      float channel_scale) {
  switch (spec.format) {
    case WeightFormat::kInt8Group:
      // 126.5: the stored scale may be 0.4 % smaller than the exact one.
      return {{spec.format, StoredScale(LargestMagnitude(group) / 126.5f)}};
    case WeightFormat::kInt4Group:
      return Int4Grids(group);
    case WeightFormat::kNf4Group:
    case WeightFormat::kFp4Group:
      return {
          {spec.format, StoredScale(LargestMagnitude(group) / TableMax(CodeTable(spec.format)))}};
    case WeightFormat::kProgressive4:
      return {ProgressiveGrid(group, channel_scale)};
    default:
      return {{spec.format, channel_scale}};
  }
}

void AddGrid(const GroupGrid& grid, ChannelCodes* channel) {
  if (grid.format != WeightFormat::kProgressive4) {
    channel->scales.push_back(grid.scale);
    return;
  }
  channel->scales = {grid.scale};
  channel->level2.push_back(static_cast<uint8_t>(grid.step));
  channel->zeros.push_back(static_cast<uint8_t>(grid.zero));
}

std::vector<float> ChannelValues(const ChannelCodes& channel, const WeightFormatSpec& spec) {
  const size_t in = channel.codes.size();
  const size_t group = HasGroups(spec.format) ? static_cast<size_t>(spec.group) : in;
  std::vector<float> values(in);
  for (size_t i = 0; i < in; ++i) {
    const size_t g = i / group;
    GroupGrid grid = {spec.format, channel.scales[std::min(g, channel.scales.size() - 1)]};
    if (spec.format == WeightFormat::kProgressive4) {
      grid.step = channel.level2[g];
      grid.zero = channel.zeros[g];
    }
    values[i] = grid.ValueOf(channel.codes[i]);
  }
  return values;
}

ChannelCodes QuantizeChannel(absl::Span<const float> weights, const WeightFormatSpec& spec) {
  ISTHMUS_CHECK(CodeBits(spec.format) <= 8);
  ChannelCodes channel;
  const float channel_scale = ChannelScale(weights, spec);
  const size_t group = HasGroups(spec.format) ? spec.group : weights.size();
  for (size_t begin = 0; begin < weights.size(); begin += group) {
    const auto part = weights.subspan(begin, group);
    const GroupGrid grid = BestGrid(part, CandidateGrids(part, spec, channel_scale));
    AddGrid(grid, &channel);
    for (float v : part) channel.codes.push_back(grid.CodeOf(v));
  }
  return channel;
}

}  // namespace isthmus
