#include "kernels/parallel.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace isthmus {

ThreadPool::ThreadPool(int threads) {
  ISTHMUS_CHECK(threads >= 1);
  for (int i = 1; i < threads; ++i) {
    workers_.emplace_back(absl::StrCat("kernel-", i), [this, i] { Work(i); });
  }
}

ThreadPool::~ThreadPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.SignalAll();
  }
  for (Thread& worker : workers_) worker.Join();
}

void ThreadPool::TakeIndices(const Body& body, int64_t count, int thread) {
  for (;;) {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count) return;
    body(index, thread);
  }
}

void ThreadPool::Work(int thread) {
  uint64_t seen = 0;
  for (;;) {
    const Body* body = nullptr;
    int64_t count = 0;
    {
      MutexLock lock(&mutex_);
      while (!stopping_ && round_ == seen) wake_.Wait(&mutex_);
      if (stopping_) return;
      seen = round_;
      body = body_;
      count = count_;
    }
    TakeIndices(*body, count, thread);
    MutexLock lock(&mutex_);
    if (--busy_ == 0) done_.Signal();
  }
}

void ThreadPool::For(int64_t count, Body body) {
  if (workers_.empty() || count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  {
    MutexLock lock(&mutex_);
    next_.store(0, std::memory_order_relaxed);
    body_ = &body;
    count_ = count;
    busy_ = static_cast<int>(workers_.size());
    ++round_;
    wake_.SignalAll();
  }
  TakeIndices(body, count, 0);
  MutexLock lock(&mutex_);
  while (busy_ > 0) done_.Wait(&mutex_);
}

void ParallelFor(ThreadPool* pool, int64_t count, absl::FunctionRef<void(int64_t, int)> body) {
  if (pool != nullptr) {
    pool->For(count, body);
    return;
  }
  for (int64_t i = 0; i < count; ++i) body(i, 0);
}

}  // namespace isthmus
