// Hands out pieces of a caller's scratch, each at a multiple of 64 bytes.
#ifndef ISTHMUS_KERNELS_SCRATCH_H_
#define ISTHMUS_KERNELS_SCRATCH_H_

#include <cstdint>

#include "absl/types/span.h"
#include "base/check.h"

namespace isthmus {

class ScratchPieces {
 public:
  explicit ScratchPieces(absl::Span<uint8_t> scratch)
      : next_(reinterpret_cast<uintptr_t>(scratch.data())), end_(next_ + scratch.size()) {}

  // What `count` values take, alignment included: sizes are sums of these.
  template <typename T>
  static constexpr int64_t Bytes(int64_t count) {
    return (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64 + 64;
  }

  template <typename T>
  T* Take(int64_t count) {
    const uintptr_t begin = (next_ + 63) / 64 * 64;
    next_ = begin + static_cast<uintptr_t>(count) * sizeof(T);
    ISTHMUS_CHECK(next_ <= end_);
    return reinterpret_cast<T*>(begin);
  }

 private:
  uintptr_t next_;
  uintptr_t end_;
};

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_SCRATCH_H_
