#include "link/timers.h"

#include <chrono>
#include <utility>

#include "base/clock.h"

namespace isthmus {

Timers::Timers() : thread_("timers", [this] { Run(); }) {}

Timers::~Timers() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  thread_.Join();
}

Timers* Timers::Process() {
  static Timers* const timers = new Timers;
  return timers;
}

void Timers::At(int64_t due_us, Closure closure) {
  MutexLock lock(&mutex_);
  const auto it = waiting_.emplace(due_us, std::move(closure));
  if (it == waiting_.begin()) changed_.SignalAll();
}

void Timers::Run() {
  while (true) {
    Closure closure;
    {
      MutexLock lock(&mutex_);
      while (!stopping_ && (waiting_.empty() || waiting_.begin()->first > NowUs())) {
        if (waiting_.empty()) {
          changed_.Wait(&mutex_);
        } else {
          const std::chrono::microseconds due(waiting_.begin()->first);
          changed_.WaitUntil(&mutex_, std::chrono::steady_clock::time_point(due));
        }
      }
      if (stopping_) return;
      closure = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
    }
    closure();
  }
}

}  // namespace isthmus
