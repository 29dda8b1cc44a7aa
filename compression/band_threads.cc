#include "compression/band_threads.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/mutex.h"
#include "base/thread.h"

namespace isthmus {
namespace {

using Work = absl::FunctionRef<void(size_t)>;

class Helper {
 public:
  static Helper& Get() {
    static Helper* const helper = new Helper;  // its thread lives as long as the process
    return *helper;
  }

  // False when somebody else uses it.
  bool Offer(const Work* work, size_t part) {
    MutexLock lock(&mutex_);
    if (state_ != kIdle) return false;
    if (!thread_.running()) thread_ = Thread("codec", [this] { Run(); });
    work_ = work;
    part_ = part;
    state_ = kOffered;
    changed_.SignalAll();
    return true;
  }
  // Takes the offer back, or waits until it is done. True when the caller has to do the part.
  bool Finish() {
    MutexLock lock(&mutex_);
    const bool mine = state_ == kOffered;
    while (!mine && state_ != kDone) changed_.Wait(&mutex_);
    state_ = kIdle;
    return mine;
  }

 private:
  enum State { kIdle, kOffered, kWorking, kDone };

  void Run() {
    for (;;) {
      const Work* work = nullptr;
      size_t part = 0;
      {
        MutexLock lock(&mutex_);
        while (state_ != kOffered) changed_.Wait(&mutex_);
        state_ = kWorking;
        work = work_;
        part = part_;
      }
      (*work)(part);
      MutexLock lock(&mutex_);
      state_ = kDone;
      changed_.SignalAll();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  State state_ ISTHMUS_GUARDED_BY(mutex_) = kIdle;
  const Work* work_ ISTHMUS_GUARDED_BY(mutex_) = nullptr;
  size_t part_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  Thread thread_;
};

std::atomic<int> threads{0};  // 0: not set

bool HasHelper() {
  const int set = threads.load(std::memory_order_relaxed);
  return set > 0 ? set > 1 : std::thread::hardware_concurrency() > 1;
}

}  // namespace

void ForBands(size_t parts, Work work) {
  const bool offered = parts > 1 && HasHelper() && Helper::Get().Offer(&work, parts - 1);
  for (size_t part = 0; part + 1 < parts; ++part) work(part);
  if (parts > 0 && (!offered || Helper::Get().Finish())) work(parts - 1);
}

void SetCodecThreads(int count) { threads.store(std::clamp(count, 1, 2)); }

}  // namespace isthmus
