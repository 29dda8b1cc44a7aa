// The memory of one party's stages: buffers that are counted against a limit, and the carving of a
// buffer into arrays.
//
// Everything that is as large as a micro-batch or a weight lies in a Buffer. After the first step
// of a shape no Buffer grows any more: kept activations, work space and outputs are taken up again.
#ifndef ISTHMUS_ENGINE_EDGE_MEMORY_H_
#define ISTHMUS_ENGINE_EDGE_MEMORY_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/tensor.h"

namespace isthmus::edge {

// Bytes in use and their limit. Shared by the buffers that it counts. Any thread.
//
// An account that `plans` hands out no memory: buffers have their size and no data. What is built
// on it says what the same thing takes in earnest.
class MemoryAccount {
 public:
  explicit MemoryAccount(int64_t limit_bytes, bool plans = false)  // 0: no limit
      : limit_bytes_(limit_bytes), plans_(plans) {}
  bool plans() const { return plans_; }
  // kResourceExhausted beyond the limit.
  absl::Status Take(int64_t bytes);
  void Return(int64_t bytes);
  int64_t used_bytes() const;

 private:
  const int64_t limit_bytes_;
  const bool plans_;
  mutable Mutex mutex_;
  int64_t used_bytes_ ISTHMUS_GUARDED_BY(mutex_) = 0;
};

// Owns bytes that begin on a cache line. Not initialised.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { Free(); }

  // Room for so many bytes; the contents are lost when it grows.
  absl::Status Reserve(int64_t bytes, const std::shared_ptr<MemoryAccount>& account);
  uint8_t* data() const { return data_; }
  float* floats() const { return reinterpret_cast<float*>(data_); }
  int64_t capacity() const { return capacity_; }

 private:
  void Free();

  uint8_t* data_ = nullptr;
  int64_t capacity_ = 0;
  std::shared_ptr<MemoryAccount> account_;
};

// Cuts arrays out of memory, each on a cache line. On null memory it hands out null and only
// counts: the same code says how much it needs and where it lies.
class Carver {
 public:
  explicit Carver(uint8_t* memory) : memory_(memory) {}
  float* Floats(int64_t count) { return reinterpret_cast<float*>(Bytes(count * 4)); }
  uint8_t* Bytes(int64_t count);
  // What was cut so far; Rewind takes up again what was cut since, for arrays that do not live at
  // the same time.
  int64_t used() const { return used_; }
  void Rewind(int64_t used) { used_ = used; }
  int64_t peak() const { return peak_; }

 private:
  uint8_t* const memory_;
  int64_t used_ = 0;
  int64_t peak_ = 0;
};

// fp32 tensors that leave the engine (outputs, gradients at the cuts): their memory comes back when
// the last handle goes, on whatever thread, and is used again.
class TensorPool : public std::enable_shared_from_this<TensorPool> {
 public:
  explicit TensorPool(std::shared_ptr<MemoryAccount> account) : account_(std::move(account)) {}
  struct Fresh {
    Tensor tensor;
    float* values = nullptr;  // of the tensor, to be filled in
  };
  absl::StatusOr<Fresh> Take(int64_t rows, int64_t width);
  // Sets `count` buffers of this size aside.
  absl::Status Reserve(int64_t count, int64_t bytes);

 private:
  const std::shared_ptr<MemoryAccount> account_;
  Mutex mutex_;
  std::vector<Buffer> free_ ISTHMUS_GUARDED_BY(mutex_);
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_MEMORY_H_
