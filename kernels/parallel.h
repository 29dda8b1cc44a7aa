// A small pool of threads that live as long as their owner: the kernels share their loops out over
// it and create no thread in a call.
#ifndef ISTHMUS_KERNELS_PARALLEL_H_
#define ISTHMUS_KERNELS_PARALLEL_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace isthmus {

class ThreadPool {
 public:
  // `threads` counts the calling one: 1 starts none. At least 1 (CHECK).
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(index, thread) once for every index in [0, count), thread in [0, threads()); who
  // takes which index is not determined, so a body writes only what belongs to its index (or, as
  // scratch, to its thread). Returns when all are done. One caller at a time; a body does not call
  // For.
  void For(int64_t count, absl::FunctionRef<void(int64_t index, int thread)> body);

 private:
  using Body = absl::FunctionRef<void(int64_t, int)>;

  void Work(int thread);
  void TakeIndices(const Body& body, int64_t count, int thread);

  Mutex mutex_;
  CondVar wake_;
  CondVar done_;
  const Body* body_ ISTHMUS_GUARDED_BY(mutex_) = nullptr;
  int64_t count_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  uint64_t round_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  int busy_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  bool stopping_ ISTHMUS_GUARDED_BY(mutex_) = false;
  std::atomic<int64_t> next_{0};
  std::vector<Thread> workers_;  // last: they stop before the rest goes
};

// The same without a pool: in order, on the calling thread, where `pool` is null.
void ParallelFor(ThreadPool* pool, int64_t count, absl::FunctionRef<void(int64_t, int)> body);
inline int NumThreads(const ThreadPool* pool) { return pool == nullptr ? 1 : pool->threads(); }

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_PARALLEL_H_
