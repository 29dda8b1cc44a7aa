// bfloat16 and IEEE half to float and back, rounding to nearest, ties to even.
#ifndef ISTHMUS_MODEL_CONVERT_H_
#define ISTHMUS_MODEL_CONVERT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace isthmus {

float FloatFromBf16(uint16_t bits);
float FloatFromF16(uint16_t bits);
// A NaN stays a NaN (quiet); beyond the largest finite value comes infinity.
uint16_t Bf16FromFloat(float value);
uint16_t F16FromFloat(float value);

// F32, F16 or BF16 as fp32, same shape; an F32 tensor comes back as the same bytes, not a copy.
// kInvalidArgument for other dtypes.
absl::StatusOr<Tensor> ToF32(const Tensor& tensor);
// An F32 tensor in F32, F16 or BF16. kInvalidArgument for other dtypes.
absl::StatusOr<Tensor> FromF32(const Tensor& tensor, DType dtype);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_CONVERT_H_
