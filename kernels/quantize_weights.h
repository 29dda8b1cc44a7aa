// Weights to codes and scales, rounded to nearest: one channel at a time. What a calibrated
// quantiser (GPTQ) shares with plain rounding is FitGroup and CodeOf.
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

// The scale of one group (or of a whole channel), exact as it is stored: for int4 the one of 17
// candidates with the least squared error, otherwise from the largest magnitude. Not for
// progressive.
float FitScale(absl::Span<const float> weights, const WeightFormatSpec& spec);
// The nearest code under `scale`, and what it decodes to.
uint8_t CodeOf(float weight, float scale, WeightFormat format);
float ValueOf(uint8_t code, float scale, WeightFormat format);

// The values of the codes of a table format (16 or 256 of them), scale 1.
absl::Span<const float> CodeTable(WeightFormat format);

float FloatOfBf16(uint16_t bits);
uint16_t Bf16OfFloat(float value);  // nearest, ties to even

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_QUANTIZE_WEIGHTS_H_
