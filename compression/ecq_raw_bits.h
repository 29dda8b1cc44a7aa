// Bits beside the entropy coder: the tails of escaped codes and the low bits of very large ones.
// Least significant bit first.
#ifndef ISTHMUS_COMPRESSION_ECQ_RAW_BITS_H_
#define ISTHMUS_COMPRESSION_ECQ_RAW_BITS_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

class RawBitWriter {
 public:
  void Clear() {
    bytes_.clear();
    word_ = 0;
    fill_ = 0;
  }
  // The lowest `bits` (at most 32) of value, whose others are 0.
  void Put(uint32_t value, int bits) {
    word_ |= uint64_t{value} << fill_;
    fill_ += bits;
    for (; fill_ >= 8; fill_ -= 8, word_ >>= 8) bytes_.push_back(static_cast<uint8_t>(word_));
  }
  // Exp-Golomb: n zeros, a one, then n + order bits. value < 2^30.
  void PutGolomb(uint32_t value, int order) {
    const uint32_t shifted = value + (1u << order);
    const int extra = std::bit_width(shifted) - 1;
    Put(0, extra - order);
    Put(1, 1);
    Put(shifted - (1u << extra), extra);
  }
  size_t BitCount() const { return bytes_.size() * 8 + static_cast<size_t>(fill_); }
  absl::Span<const uint8_t> Flush() {
    if (fill_ > 0) bytes_.push_back(static_cast<uint8_t>(word_));
    word_ = 0;
    fill_ = 0;
    return bytes_;
  }

 private:
  Bytes bytes_;
  uint64_t word_ = 0;
  int fill_ = 0;
};

class RawBitReader {
 public:
  explicit RawBitReader(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}

  uint32_t Get(int bits) {
    while (fill_ < bits) {
      uint64_t byte = 0;
      if (at_ < bytes_.size()) {
        byte = bytes_[at_++];
      } else {
        overrun_ = true;
      }
      word_ |= byte << fill_;
      fill_ += 8;
    }
    const uint32_t value = static_cast<uint32_t>(word_ & ((uint64_t{1} << bits) - 1));
    word_ >>= bits;
    fill_ -= bits;
    return value;
  }
  uint32_t GetGolomb(int order) {
    int extra = order;
    while (Get(1) == 0) {
      if (++extra > 30 || overrun_) {
        overrun_ = true;
        return 0;
      }
    }
    return (1u << extra) + Get(extra) - (1u << order);
  }
  // Everything was read, nothing beyond it, and the padding is 0.
  bool Finish() const { return !overrun_ && at_ == bytes_.size() && fill_ < 8 && word_ == 0; }

 private:
  absl::Span<const uint8_t> bytes_;
  size_t at_ = 0;
  uint64_t word_ = 0;
  int fill_ = 0;
  bool overrun_ = false;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_RAW_BITS_H_
