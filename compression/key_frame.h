// How AQ-SGD codes a sample for which there is nothing to predict from: 8 bits with a scale per
// token, half, or fp32.
#ifndef ISTHMUS_COMPRESSION_KEY_FRAME_H_
#define ISTHMUS_COMPRESSION_KEY_FRAME_H_

#include <cstdint>
#include <cstring>
#include <vector>

#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/matrix_coder.h"
#include "compression/scratch.h"

namespace isthmus {

enum class KeyFormat : uint8_t { kInt8 = 0, kFp16 = 1, kNone = 2 };

class KeyFrameCoder {
 public:
  KeyFrameCoder(KeyFormat format, int64_t width)
      : format_(format),
        width_(static_cast<size_t>(width)),
        int8_({{8, true, RangeRule::kMinMax}, Group::kToken, 0}, width) {}

  size_t SideBytes(size_t tokens) const {
    return format_ == KeyFormat::kInt8 ? int8_.ParameterBytes(tokens) : 0;
  }
  size_t Bytes(size_t tokens) const {
    switch (format_) {
      case KeyFormat::kInt8:
        return int8_.Bytes(tokens);
      case KeyFormat::kFp16:
        return tokens * width_ * 2;
      default:
        return tokens * width_ * 4;
    }
  }

  // Writes Bytes(tokens). x is finite. Returns how many values lay beyond half's range.
  int64_t Encode(const float* x, size_t tokens, uint8_t* out) {
    const size_t n = tokens * width_;
    if (n == 0) return 0;
    if (format_ == KeyFormat::kInt8) {
      int8_.Encode(x, tokens, nullptr, 0, out);
    } else if (format_ == KeyFormat::kNone) {
      std::memcpy(out, x, n * 4);
    } else {
      uint16_t* half = Room(&half_, n);
      const uint32_t magnitude = HalfFromFloats(x, n, 1.0f, half);
      std::memcpy(out, half, n * 2);
      return magnitude < kHalfOverflow ? 0 : CountBeyondHalf(x, n);
    }
    return 0;
  }

  // Reads Bytes(tokens). False for what Encode does not write.
  bool Decode(const uint8_t* in, size_t tokens, float* x) {
    const size_t n = tokens * width_;
    if (n == 0) return true;
    if (format_ == KeyFormat::kInt8) return int8_.Decode(in, tokens, x);
    if (format_ == KeyFormat::kNone) {
      std::memcpy(x, in, n * 4);
      return ScanExtent(x, n).magnitude <= kLargestMagnitude;
    }
    uint16_t* half = Room(&half_, n);
    std::memcpy(half, in, n * 2);
    return FloatsFromHalf(half, n, 1.0f, x) <= kHalfLargest;
  }

 private:
  KeyFormat format_;
  size_t width_;
  MatrixCoder int8_;
  std::vector<uint16_t> half_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_KEY_FRAME_H_
