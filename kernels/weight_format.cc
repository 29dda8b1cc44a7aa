#include "kernels/weight_format.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace isthmus {
namespace {

struct FormatRow {
  WeightFormat format;
  const char* name;
  int bits;
  int default_group;  // 0: no groups
  bool integer;
};

constexpr FormatRow kRows[] = {
    {WeightFormat::kF32, "f32", 32, 0, false},
    {WeightFormat::kBf16, "bf16", 16, 0, false},
    {WeightFormat::kInt8, "int8", 8, 0, true},
    {WeightFormat::kInt8Group, "int8", 8, 64, true},
    {WeightFormat::kInt4Group, "int4", 4, 64, true},
    {WeightFormat::kProgressive4, "progressive4", 4, 128, true},
    {WeightFormat::kNf4Group, "nf4", 4, 64, false},
    {WeightFormat::kFp8, "fp8", 8, 0, false},
    {WeightFormat::kFp4Group, "fp4", 4, 32, false},
};

const FormatRow& RowOf(WeightFormat format) { return kRows[static_cast<int>(format)]; }

// The group after "g", 0 where it is none of 32, 64, 128.
int ParseGroup(absl::string_view text) {
  int group = 0;
  if (!absl::SimpleAtoi(text, &group)) return 0;
  return group == 32 || group == 64 || group == 128 ? group : 0;
}

}  // namespace

bool HasGroups(WeightFormat format) { return RowOf(format).default_group > 0; }
int CodeBits(WeightFormat format) { return RowOf(format).bits; }
bool IsIntegerFormat(WeightFormat format) { return RowOf(format).integer; }

std::string WeightFormatText(const WeightFormatSpec& spec) {
  const FormatRow& row = RowOf(spec.format);
  if (row.default_group == 0) return row.name;
  return absl::StrCat(row.name, "g", spec.group);
}

absl::StatusOr<WeightFormatSpec> ParseWeightFormat(absl::string_view text) {
  for (const FormatRow& row : kRows) {
    if (text == row.name) return WeightFormatSpec{row.format, row.default_group};
    if (row.default_group == 0 || !absl::StartsWith(text, absl::StrCat(row.name, "g"))) continue;
    const int group = ParseGroup(text.substr(std::string(row.name).size() + 1));
    if (group > 0) return WeightFormatSpec{row.format, group};
  }
  return InvalidArgument(
      "weight format: expected f32, bf16, int8, int8gN, int4gN, progressive4gN, ",
      "nf4gN, fp8 or fp4gN with N = 32, 64 or 128, got '", text, "'");
}

std::vector<WeightFormatSpec> AllWeightFormats() {
  std::vector<WeightFormatSpec> all;
  for (const FormatRow& row : kRows) all.push_back({row.format, row.default_group});
  return all;
}

}  // namespace isthmus
