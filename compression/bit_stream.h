// Runs of codes of any width one after the other in one stream, least significant bit first; a run
// that starts on a byte goes through the fast kernels.
#ifndef ISTHMUS_COMPRESSION_BIT_STREAM_H_
#define ISTHMUS_COMPRESSION_BIT_STREAM_H_

#include <cstddef>
#include <cstdint>

#include "compression/kernels.h"

namespace isthmus {

// The caller gives room for all runs, rounded up to a byte, and calls Flush at the end.
class BitPacker {
 public:
  explicit BitPacker(uint8_t* out) : out_(out) {}

  void Append(const uint8_t* codes, size_t n, int bits) {
    while (n > 0 && fill_ != 0) {
      AppendOne(*codes++, bits);
      --n;
    }
    const size_t whole = n - n % 8;  // ends on a byte again
    PackBits(codes, whole, bits, out_);
    out_ += PackedBytes(whole, bits);
    for (size_t i = whole; i < n; ++i) AppendOne(codes[i], bits);
  }
  void Flush() {
    if (fill_ > 0) *out_++ = static_cast<uint8_t>(word_);
    fill_ = 0;
    word_ = 0;
  }

 private:
  void AppendOne(uint8_t code, int bits) {
    word_ |= static_cast<uint32_t>(code) << fill_;
    fill_ += bits;
    if (fill_ >= 8) {
      *out_++ = static_cast<uint8_t>(word_);
      word_ >>= 8;
      fill_ -= 8;
    }
  }

  uint8_t* out_;
  uint32_t word_ = 0;
  int fill_ = 0;  // bits in word_, below 8
};

// The stream must hold all the runs that are read.
class BitUnpacker {
 public:
  explicit BitUnpacker(const uint8_t* in) : in_(in) {}

  void Read(uint8_t* codes, size_t n, int bits) {
    while (n > 0 && fill_ != 0) {
      *codes++ = ReadOne(bits);
      --n;
    }
    const size_t whole = n - n % 8;
    UnpackBits(in_, whole, bits, codes);
    in_ += PackedBytes(whole, bits);
    for (size_t i = whole; i < n; ++i) codes[i] = ReadOne(bits);
  }

 private:
  uint8_t ReadOne(int bits) {
    if (fill_ < bits) {
      word_ |= static_cast<uint32_t>(*in_++) << fill_;
      fill_ += 8;
    }
    const uint8_t code = static_cast<uint8_t>(word_ & ((1u << bits) - 1));
    word_ >>= bits;
    fill_ -= bits;
    return code;
  }

  const uint8_t* in_;
  uint32_t word_ = 0;
  int fill_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_BIT_STREAM_H_
