// How a message store keeps the values of one sample: fp32, bf16, or 8 bits with a scale per token.
#ifndef ISTHMUS_COMPRESSION_STORE_ROW_H_
#define ISTHMUS_COMPRESSION_STORE_ROW_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "compression/kernels.h"
#include "compression/matrix_coder.h"

namespace isthmus {

enum class StoreType : uint8_t { kFp32 = 0, kBf16 = 1, kInt8 = 2 };

class StoreRowFormat {
 public:
  StoreRowFormat(StoreType type, int64_t width)
      : type_(type),
        width_(static_cast<size_t>(width)),
        int8_({{8, true, RangeRule::kMinMax}, Group::kToken, 0}, width) {}

  size_t Bytes(size_t tokens) const {
    switch (type_) {
      case StoreType::kFp32:
        return tokens * width_ * 4;
      case StoreType::kBf16:
        return tokens * width_ * 2;
      default:
        return int8_.Bytes(tokens);
    }
  }

  // One rounding from fp32 to the store's type. x is finite and at most 2^127 in magnitude. `row`
  // needs no alignment.
  void Write(const float* x, size_t tokens, uint8_t* row) {
    const size_t n = tokens * width_;
    if (n == 0) return;
    if (type_ == StoreType::kFp32) {
      std::memcpy(row, x, n * 4);
    } else if (type_ == StoreType::kBf16) {
      Bf16FromFloats(x, n, reinterpret_cast<uint16_t*>(row));
    } else {
      int8_.Encode(x, tokens, nullptr, 0, row);
    }
  }
  void Read(const uint8_t* row, size_t tokens, float* x) {
    const size_t n = tokens * width_;
    if (n == 0) return;
    if (type_ == StoreType::kFp32) {
      std::memcpy(x, row, n * 4);
    } else if (type_ == StoreType::kBf16) {
      FloatsFromBf16(reinterpret_cast<const uint16_t*>(row), n, x);
    } else {
      int8_.Decode(row, tokens, x);
    }
  }

 private:
  StoreType type_;
  size_t width_;
  MatrixCoder int8_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_STORE_ROW_H_
