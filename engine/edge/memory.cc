#include "engine/edge/memory.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/status.h"

namespace isthmus::edge {
namespace {

constexpr int64_t kLine = 64;

int64_t Padded(int64_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

}  // namespace

absl::Status MemoryAccount::Take(int64_t bytes) {
  MutexLock lock(&mutex_);
  if (limit_bytes_ > 0 && used_bytes_ + bytes > limit_bytes_) {
    return ResourceExhausted("memory: expected at most ", limit_bytes_, " bytes, got ",
                             used_bytes_ + bytes, " (edge.memory_limit)");
  }
  used_bytes_ += bytes;
  return absl::OkStatus();
}

void MemoryAccount::Return(int64_t bytes) {
  MutexLock lock(&mutex_);
  used_bytes_ -= bytes;
}

int64_t MemoryAccount::used_bytes() const {
  MutexLock lock(&mutex_);
  return used_bytes_;
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(capacity_, other.capacity_);
  std::swap(account_, other.account_);
  return *this;
}

void Buffer::Free() {
  if (capacity_ == 0) return;
  std::free(data_);
  account_->Return(capacity_);
  data_ = nullptr;
  capacity_ = 0;
}

absl::Status Buffer::Reserve(int64_t bytes, const std::shared_ptr<MemoryAccount>& account) {
  if (bytes <= capacity_) return absl::OkStatus();
  Free();
  const int64_t wanted = Padded(bytes);
  ISTHMUS_RETURN_IF_ERROR(account->Take(wanted));
  account_ = account;
  capacity_ = wanted;
  if (account->plans()) return absl::OkStatus();
  data_ = static_cast<uint8_t*>(
      std::aligned_alloc(static_cast<size_t>(kLine), static_cast<size_t>(wanted)));
  if (data_ != nullptr) return absl::OkStatus();
  Free();
  return ResourceExhausted("memory: expected ", wanted, " bytes, got none (engine edge)");
}

uint8_t* Carver::Bytes(int64_t count) {
  uint8_t* at = memory_ == nullptr ? nullptr : memory_ + used_;
  used_ += Padded(count);
  peak_ = std::max(peak_, used_);
  return at;
}

absl::StatusOr<TensorPool::Fresh> TensorPool::Take(int64_t rows, int64_t width) {
  const int64_t bytes = rows * width * int64_t{sizeof(float)};
  Buffer buffer;
  {
    MutexLock lock(&mutex_);
    if (!free_.empty()) {
      // The largest: sizes settle after a few micro-batches.
      const auto largest = std::max_element(
          free_.begin(), free_.end(),
          [](const Buffer& a, const Buffer& b) { return a.capacity() < b.capacity(); });
      buffer = std::move(*largest);
      *largest = std::move(free_.back());
      free_.pop_back();
    }
  }
  ISTHMUS_RETURN_IF_ERROR(buffer.Reserve(bytes, account_));
  struct Lent {
    std::shared_ptr<TensorPool> pool;
    Buffer buffer;
    ~Lent() {
      MutexLock lock(&pool->mutex_);
      pool->free_.push_back(std::move(buffer));
    }
  };
  auto lent = std::make_shared<Lent>();
  lent->pool = shared_from_this();
  lent->buffer = std::move(buffer);
  Fresh fresh;
  fresh.values = lent->buffer.floats();
  fresh.tensor = Tensor::View(DType::kF32, {rows, width}, fresh.values, std::move(lent));
  return fresh;
}

absl::Status TensorPool::Reserve(int64_t count, int64_t bytes) {
  std::vector<Buffer> buffers(static_cast<size_t>(count));
  for (Buffer& buffer : buffers) ISTHMUS_RETURN_IF_ERROR(buffer.Reserve(bytes, account_));
  MutexLock lock(&mutex_);
  for (Buffer& buffer : buffers) free_.push_back(std::move(buffer));
  return absl::OkStatus();
}

}  // namespace isthmus::edge
