// Timers: one thread of the process that runs small closures when they are due. Shaped frames,
// pings, acks and new attempts of every link wait here, so no thread sleeps for them.
#ifndef ISTHMUS_LINK_TIMERS_H_
#define ISTHMUS_LINK_TIMERS_H_

#include <cstdint>
#include <functional>
#include <map>

#include "base/mutex.h"
#include "base/thread.h"

namespace isthmus {

class Timers {
 public:
  using Closure = std::function<void()>;

  Timers();
  ~Timers();  // closures that are not due are dropped
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // Runs `closure` on the timer thread at `due_us` (of NowUs()) or a little later; equal times run
  // in the order of the calls. A closure must not block, and holds what it touches by weak pointer:
  // there is no cancel.
  void At(int64_t due_us, Closure closure);

  static Timers* Process();  // never deleted

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::multimap<int64_t, Closure> waiting_ ISTHMUS_GUARDED_BY(mutex_);
  bool stopping_ ISTHMUS_GUARDED_BY(mutex_) = false;
  Thread thread_;  // last: it uses the rest
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_TIMERS_H_
