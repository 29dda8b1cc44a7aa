// Weights to codes and scales, rounded to nearest: one channel at a time. What a calibrated
// quantiser (calibrated_rounding.h) shares with plain rounding are the grids that a group may take.
#ifndef ISTHMUS_KERNELS_QUANTIZE_WEIGHTS_H_
#define ISTHMUS_KERNELS_QUANTIZE_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/weight_format.h"

namespace isthmus {

// One output channel: a code an input (two's complement for 8-bit integers, q + 8 for int4, the
// index in the table for the others) and what restores the values.
struct ChannelCodes {
  std::vector<uint8_t> codes;   // [in]
  std::vector<float> scales;    // [groups] exact in bf16, or [1] (int8, fp8, progressive)
  std::vector<uint8_t> level2;  // [groups], progressive only
  std::vector<uint8_t> zeros;
};

// Formats of 8 and 4 bits only. Values are finite (CHECK: validate outside input before).
ChannelCodes QuantizeChannel(absl::Span<const float> weights, const WeightFormatSpec& spec);

// What the codes of one group (or of a whole channel) decode to: scale x table value, or, with two
// levels (progressive), scale x step x (code - zero). The scale is exact as it is stored.
struct GroupGrid {
  WeightFormat format = WeightFormat::kInt8;
  float scale = 0.0f;
  int step = 1;
  int zero = 0;
  uint8_t CodeOf(float weight) const;  // the nearest
  float ValueOf(uint8_t code) const;
};

// The one scale of a channel of int8, fp8 and progressive, from the largest magnitude; 0 for
// formats whose groups have scales of their own.
float ChannelScale(absl::Span<const float> weights, const WeightFormatSpec& spec);
// The grids among which a group is fitted, at least one: 17 for int4 (the extreme value takes -8,
// or the range is clipped a little), else the one that spans the values.
std::vector<GroupGrid> CandidateGrids(absl::Span<const float> group, const WeightFormatSpec& spec,
                                      float channel_scale);
// Adds a group's grid to what restores the channel.
void AddGrid(const GroupGrid& grid, ChannelCodes* channel);

// The weights that a channel's codes restore.
std::vector<float> ChannelValues(const ChannelCodes& channel, const WeightFormatSpec& spec);
// What a code decodes to, formats of one level.
float ValueOf(uint8_t code, float scale, WeightFormat format);

// The values of the codes of a table format (16 or 256 of them), scale 1.
absl::Span<const float> CodeTable(WeightFormat format);

float FloatOfBf16(uint16_t bits);
uint16_t Bf16OfFloat(float value);  // nearest, ties to even

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_QUANTIZE_WEIGHTS_H_
