// Tensor: dtype + shape + bytes, and no arithmetic. What travels between engine, codec and link.
//
// The bytes are either owned or a view that keeps its owner alive (a memory-mapped file, another
// tensor). Copying a Tensor copies the handle, not the bytes. Not thread-safe; a tensor is moved
// from thread to thread.
#ifndef ISTHMUS_BASE_TENSOR_H_
#define ISTHMUS_BASE_TENSOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace isthmus {

enum class DType : uint8_t { kF32 = 0, kF16 = 1, kBF16 = 2, kI32 = 3, kI64 = 4, kU8 = 5, kF64 = 6 };

int64_t SizeOf(DType dtype);          // bytes of one element
absl::string_view Name(DType dtype);  // "F32", "BF16", … as safetensors spells them

using Shape = std::vector<int64_t>;
std::string ToString(const Shape& shape);  // "[4, 64]"

class Tensor {
 public:
  Tensor() = default;  // empty: no elements, shape {}
  // Uninitialised bytes of its own. Sizes must not be negative nor overflow (CHECK: validate
  // outside input before).
  Tensor(DType dtype, Shape shape);
  // A view of `data`, which `owner` keeps alive.
  static Tensor View(DType dtype, Shape shape, const void* data, std::shared_ptr<const void> owner);
  static Tensor Zeros(DType dtype, Shape shape);
  static Tensor FromFloats(Shape shape, absl::Span<const float> values);

  bool empty() const { return data_ == nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(size_t i) const { return shape_[i]; }
  int64_t num_elements() const;
  int64_t num_bytes() const { return num_elements() * SizeOf(dtype_); }

  const void* data() const { return data_; }
  void* mutable_data();  // only on a tensor that owns its bytes
  absl::Span<const uint8_t> bytes() const;
  absl::Span<const float> floats() const;  // dtype must be F32
  absl::Span<float> mutable_floats();
  absl::Span<const int32_t> ints() const;  // dtype must be I32
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  const void* data_ = nullptr;
  bool is_view_ = false;
  std::shared_ptr<const void> owner_;
};

// A tensor with its model-wide name ("model.layers.0.self_attn.q_proj.weight").
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_TENSOR_H_
