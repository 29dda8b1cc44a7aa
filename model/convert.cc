#include "model/convert.h"

#include <bit>
#include <cmath>

#include "base/status.h"

namespace isthmus {

float FloatFromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

uint16_t Bf16FromFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x0040);
  // Half of the last kept place, minus one when that place is even: ties go to even. A carry may
  // run into the exponent: that is the next binade, or infinity, as it should be.
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float FloatFromF16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits} << 16 & 0x80000000u;
  const uint32_t exponent = bits >> 10 & 0x1F;
  const uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in float
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

uint16_t F16FromFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return sign | 0x7E00;   // NaN
  if (magnitude >= 0x477FF000) return sign | 0x7C00;  // 65520 and up round to infinity
  if (magnitude < 0x38800000) {                       // below 2^-14: subnormal
    // Adding 0.5 puts the unit of float rounding at 2^-24, the spacing of half subnormals: the
    // hardware rounds for us.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3F000000u);
  }
  const uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return sign | static_cast<uint16_t>((rounded - (uint32_t{127 - 15} << 23)) >> 13);
}

absl::StatusOr<Tensor> ToF32(const Tensor& tensor) {
  if (tensor.dtype() == DType::kF32) return tensor;
  if (tensor.dtype() != DType::kF16 && tensor.dtype() != DType::kBF16) {
    return InvalidArgument("dtype: expected F32, F16 or BF16, got ", Name(tensor.dtype()));
  }
  Tensor out(DType::kF32, tensor.shape());
  const auto* from = static_cast<const uint16_t*>(tensor.data());
  float* to = out.mutable_floats().data();
  const int64_t n = out.num_elements();
  if (tensor.dtype() == DType::kBF16) {
    for (int64_t i = 0; i < n; ++i) to[i] = FloatFromBf16(from[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = FloatFromF16(from[i]);
  }
  return out;
}

absl::StatusOr<Tensor> FromF32(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() != DType::kF32) {
    return InvalidArgument("dtype: expected F32, got ", Name(tensor.dtype()));
  }
  if (dtype == DType::kF32) return tensor;
  if (dtype != DType::kF16 && dtype != DType::kBF16) {
    return InvalidArgument("dtype: expected F32, F16 or BF16, got ", Name(dtype));
  }
  Tensor out(dtype, tensor.shape());
  const absl::Span<const float> from = tensor.floats();
  auto* to = static_cast<uint16_t*>(out.mutable_data());
  for (size_t i = 0; i < from.size(); ++i) {
    to[i] = dtype == DType::kBF16 ? Bf16FromFloat(from[i]) : F16FromFloat(from[i]);
  }
  return out;
}

}  // namespace isthmus
