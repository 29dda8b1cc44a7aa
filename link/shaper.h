// User-space link emulation: a rate and a delay per host and direction, over all links of the
// process that shares the Shaper.
#ifndef ISTHMUS_LINK_SHAPER_H_
#define ISTHMUS_LINK_SHAPER_H_

#include <cstdint>

#include "base/downlink.h"
#include "base/mutex.h"

namespace isthmus {

// Pure arithmetic of when bytes leave (or have arrived); the carrier waits. Thread-safe.
class Shaper {
 public:
  // 0 rate = unshaped. `delay_us` is one way, added once per frame at the sender.
  Shaper(double rate_mbps, int64_t delay_us);
  // Egress: the time the last byte of a frame handed over at `now_us` has left, plus the delay.
  int64_t Departure(int64_t now_us, int64_t wire_bytes);
  // Ingress: when a frame whose last byte arrived at `now_us` is through this host's own downlink.
  // Cut-through: a frame that came at the same rate is not delayed twice.
  int64_t Arrival(int64_t now_us, int64_t wire_bytes);
  bool shaped() const { return bytes_per_us_ > 0.0; }
  int64_t delay_us() const { return delay_us_; }

 private:
  const double bytes_per_us_;
  const int64_t delay_us_;
  Mutex mutex_;
  double egress_free_us_ ISTHMUS_GUARDED_BY(mutex_) = 0.0;
  Downlink downlink_ ISTHMUS_GUARDED_BY(mutex_);
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_SHAPER_H_
