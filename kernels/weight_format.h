// How a frozen weight matrix is stored: the formats, their text names, their costs.
//
//   f32, bf16        as they are
//   int8             8 bits, one fp32 scale per output channel                        8 bits/weight
//   int8g64          8 bits, one bf16 scale per output channel and 64 inputs           8.25
//   int4g64          4 bits, symmetric, the same scales                                4.25
//   progressive4g128 QServe: 4 bits with an integer scale and zero per group that      4.13
//                    restore 8-bit codes, one fp32 scale per channel (Lin et al.,
//                    "QServe: W4A8KV4 Quantization and System Co-design", 2024)
//   nf4g64           16 quantiles of a normal distribution (Dettmers et al., "QLoRA")  4.25
//   fp8              E4M3, one fp32 scale per output channel                           8
//   fp4g32           E2M1, one bf16 scale per 32 inputs                                4.5
//
// Groups are 32, 64 or 128 inputs long; the last of a row may be shorter (172 = 64 + 64 + 44).
#ifndef ISTHMUS_KERNELS_WEIGHT_FORMAT_H_
#define ISTHMUS_KERNELS_WEIGHT_FORMAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace isthmus {

enum class WeightFormat : uint8_t {
  kF32,
  kBf16,
  kInt8,
  kInt8Group,
  kInt4Group,
  kProgressive4,
  kNf4Group,
  kFp8,
  kFp4Group,
};

struct WeightFormatSpec {
  WeightFormat format = WeightFormat::kF32;
  int group = 0;  // 32, 64 or 128 for the formats with groups, else 0

  friend bool operator==(const WeightFormatSpec&, const WeightFormatSpec&) = default;
};

bool HasGroups(WeightFormat format);
int CodeBits(WeightFormat format);  // 32, 16, 8 or 4
// The formats whose codes are integers, so that the product runs on 8-bit integer instructions.
bool IsIntegerFormat(WeightFormat format);

// The text form; parse(text(spec)) = spec. A name without its group has the default one ("int4" is
// int4g64). kInvalidArgument lists what there is.
std::string WeightFormatText(const WeightFormatSpec& spec);
absl::StatusOr<WeightFormatSpec> ParseWeightFormat(absl::string_view text);
// One spec of every format, for help texts and for tests that iterate them.
std::vector<WeightFormatSpec> AllWeightFormats();

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_WEIGHT_FORMAT_H_
