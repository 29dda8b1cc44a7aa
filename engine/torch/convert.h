// Between isthmus::Tensor (bytes) and at::Tensor (arithmetic). Neither direction copies when dtype
// and device already fit.
#ifndef ISTHMUS_ENGINE_TORCH_CONVERT_H_
#define ISTHMUS_ENGINE_TORCH_CONVERT_H_

#include <cstdint>
#include <vector>

#include "base/tensor.h"
#include "engine/torch/libtorch.h"

namespace isthmus {

// A tensor on `device` with the values of `tensor` in `dtype`. A view of the same bytes (read-only:
// they may be a mapped file) when nothing has to change; it keeps their owner alive.
at::Tensor FromBytes(const Tensor& tensor, at::ScalarType dtype, const at::Device& device);

// fp32 on the host; a view that keeps `tensor` alive where it is that already.
Tensor ToBytes(const at::Tensor& tensor);

// The same, always with bytes of its own.
Tensor CopyToBytes(const at::Tensor& tensor);

// An I64 vector on `device`.
at::Tensor Indices(const std::vector<int64_t>& values, const at::Device& device);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_CONVERT_H_
