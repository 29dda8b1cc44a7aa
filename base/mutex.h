// Mutex, MutexLock and CondVar over the standard ones, with clang's thread-safety annotations.
//
// Not absl::Mutex: Debian's Abseil is not built for ThreadSanitizer, so every hand-over through it
// would be a false race.
#ifndef ISTHMUS_BASE_MUTEX_H_
#define ISTHMUS_BASE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define ISTHMUS_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define ISTHMUS_THREAD_ANNOTATION(x)
#endif
#define ISTHMUS_GUARDED_BY(x) ISTHMUS_THREAD_ANNOTATION(guarded_by(x))
#define ISTHMUS_REQUIRES(...) ISTHMUS_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ISTHMUS_EXCLUDES(...) ISTHMUS_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))

namespace isthmus {

class ISTHMUS_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void Lock() ISTHMUS_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void Unlock() ISTHMUS_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class ISTHMUS_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ISTHMUS_THREAD_ANNOTATION(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_->Lock();
  }
  ~MutexLock() ISTHMUS_THREAD_ANNOTATION(release_capability()) { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* mutex_;
};

class CondVar {
 public:
  // The caller holds `mutex`; wakes may be spurious: wait in a loop.
  void Wait(Mutex* mutex) ISTHMUS_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // False when `deadline` passed without a wake.
  bool WaitUntil(Mutex* mutex, std::chrono::steady_clock::time_point deadline)
      ISTHMUS_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    const bool woken = cv_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void Signal() { cv_.notify_one(); }
  void SignalAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_MUTEX_H_
