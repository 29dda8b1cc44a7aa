#include "base/tensor.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"

namespace isthmus {

int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI64:
    case DType::kF64:
      return 8;
    case DType::kU8:
      return 1;
  }
  return 0;
}

absl::string_view Name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
    case DType::kU8:
      return "U8";
    case DType::kF64:
      return "F64";
  }
  return "?";
}

std::string ToString(const Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

namespace {
int64_t Product(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) {
    ISTHMUS_CHECK(d >= 0);
    ISTHMUS_CHECK(!__builtin_mul_overflow(n, d, &n));
  }
  return n;
}
}  // namespace

Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) {
  const int64_t bytes = Product(shape_) * SizeOf(dtype_);
  // 64-byte alignment is one cache line and one AVX-512 register; the size is rounded up so that
  // aligned_alloc accepts it.
  void* data = std::aligned_alloc(64, static_cast<size_t>((bytes + 64) / 64 * 64));
  ISTHMUS_CHECK(data != nullptr);
  owner_ =
      std::shared_ptr<const void>(data, [](const void* p) { std::free(const_cast<void*>(p)); });
  data_ = data;
}

Tensor Tensor::View(DType dtype, Shape shape, const void* data, std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.shape_ = std::move(shape);
  Product(t.shape_);
  t.data_ = data;
  t.is_view_ = true;
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::Zeros(DType dtype, Shape shape) {
  Tensor t(dtype, std::move(shape));
  std::memset(t.mutable_data(), 0, static_cast<size_t>(t.num_bytes()));
  return t;
}

Tensor Tensor::FromFloats(Shape shape, absl::Span<const float> values) {
  Tensor t(DType::kF32, std::move(shape));
  ISTHMUS_CHECK(t.num_elements() == static_cast<int64_t>(values.size()));
  std::memcpy(t.mutable_data(), values.data(), values.size() * sizeof(float));
  return t;
}

int64_t Tensor::num_elements() const { return data_ == nullptr ? 0 : Product(shape_); }

void* Tensor::mutable_data() {
  ISTHMUS_CHECK(!is_view_);
  return const_cast<void*>(data_);
}

absl::Span<const uint8_t> Tensor::bytes() const {
  return {static_cast<const uint8_t*>(data_), static_cast<size_t>(num_bytes())};
}

absl::Span<const float> Tensor::floats() const {
  ISTHMUS_CHECK(empty() || dtype_ == DType::kF32);
  return {static_cast<const float*>(data_), static_cast<size_t>(num_elements())};
}

absl::Span<float> Tensor::mutable_floats() {
  ISTHMUS_CHECK(dtype_ == DType::kF32);
  return {static_cast<float*>(mutable_data()), static_cast<size_t>(num_elements())};
}

absl::Span<const int32_t> Tensor::ints() const {
  ISTHMUS_CHECK(empty() || dtype_ == DType::kI32);
  return {static_cast<const int32_t*>(data_), static_cast<size_t>(num_elements())};
}

}  // namespace isthmus
