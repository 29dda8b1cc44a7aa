#include <array>

#include "kernels/kernel_table.h"
#include "kernels/quantize_weights.h"

namespace isthmus {
namespace {

std::array<float, 256> Repeated(WeightFormat format) {
  const absl::Span<const float> table = CodeTable(format);
  std::array<float, 256> values;
  for (size_t i = 0; i < values.size(); ++i) values[i] = table[i % table.size()];
  return values;
}

}  // namespace

const float* DecodeTable(WeightFormat format) {
  static const std::array<float, 256> nf4 = Repeated(WeightFormat::kNf4Group);
  static const std::array<float, 256> fp4 = Repeated(WeightFormat::kFp4Group);
  static const std::array<float, 256> fp8 = Repeated(WeightFormat::kFp8);
  if (format == WeightFormat::kNf4Group) return nf4.data();
  if (format == WeightFormat::kFp4Group) return fp4.data();
  return fp8.data();
}

}  // namespace isthmus
