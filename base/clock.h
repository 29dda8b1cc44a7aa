// Clock: monotonic microseconds, and a fake for tests. Pure logic takes times as arguments; shells
// ask a Clock.
#ifndef ISTHMUS_BASE_CLOCK_H_
#define ISTHMUS_BASE_CLOCK_H_

#include <atomic>
#include <cstdint>

namespace isthmus {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t NowUs() = 0;   // monotonic, from an arbitrary origin
  virtual int64_t UnixUs() = 0;  // wall clock
  static Clock* Real();          // process-wide, never deleted
};

class FakeClock : public Clock {
 public:
  int64_t NowUs() override { return now_us_.load(); }
  int64_t UnixUs() override { return now_us_.load(); }
  void AdvanceUs(int64_t us) { now_us_ += us; }

 private:
  std::atomic<int64_t> now_us_{1'000'000};
};

inline int64_t NowUs() { return Clock::Real()->NowUs(); }

}  // namespace isthmus

#endif  // ISTHMUS_BASE_CLOCK_H_
