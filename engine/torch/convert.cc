#include "engine/torch/convert.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"

namespace isthmus {
namespace {

at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return at::kFloat;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kI32:
      return at::kInt;
    case DType::kI64:
      return at::kLong;
    case DType::kU8:
      return at::kByte;
    case DType::kF64:
      return at::kDouble;
  }
  ISTHMUS_CHECK(false);
  return at::kFloat;
}

at::Tensor ViewBytes(const Tensor& tensor) {
  const auto options = at::TensorOptions().dtype(ScalarTypeOf(tensor.dtype()));
  auto owner = std::make_shared<Tensor>(tensor);
  return at::from_blob(
      const_cast<void*>(tensor.data()), tensor.shape(), [owner](void*) mutable { owner.reset(); },
      options);
}

}  // namespace

at::Tensor FromBytes(const Tensor& tensor, at::ScalarType dtype, const at::Device& device) {
  if (tensor.num_elements() == 0) {
    return at::empty(tensor.shape(), at::TensorOptions().dtype(dtype).device(device));
  }
  // A file may place a tensor at any byte: kernels want whole elements.
  const auto address = reinterpret_cast<uintptr_t>(tensor.data());
  if (address % SizeOf(tensor.dtype()) != 0) {
    Tensor aligned(tensor.dtype(), tensor.shape());
    std::memcpy(aligned.mutable_data(), tensor.data(), tensor.num_bytes());
    return ViewBytes(aligned).to(device, dtype);
  }
  return ViewBytes(tensor).to(device, dtype);
}

Tensor ToBytes(const at::Tensor& tensor) {
  auto host = std::make_shared<at::Tensor>(tensor.detach().to(at::kCPU, at::kFloat).contiguous());
  const void* data = host->data_ptr();
  Shape shape = host->sizes().vec();
  return Tensor::View(DType::kF32, std::move(shape), data, std::move(host));
}

Tensor CopyToBytes(const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  Tensor copy(DType::kF32, host.sizes().vec());
  if (host.numel() > 0) std::memcpy(copy.mutable_data(), host.data_ptr(), copy.num_bytes());
  return copy;
}

at::Tensor Indices(const std::vector<int64_t>& values, const at::Device& device) {
  at::Tensor indices = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), indices.data_ptr<int64_t>());
  return indices.to(device);
}

}  // namespace isthmus
