#include "link/shaper.h"

#include <algorithm>
#include <cmath>

namespace isthmus {

// 1 Mbit/s is 1/8 byte per microsecond.
Shaper::Shaper(double rate_mbps, int64_t delay_us)
    : bytes_per_us_(std::max(rate_mbps, 0.0) / 8.0), delay_us_(delay_us) {}

int64_t Shaper::Departure(int64_t now_us, int64_t wire_bytes) {
  if (!shaped()) return now_us + delay_us_;
  MutexLock lock(&mutex_);
  egress_free_us_ = std::max(egress_free_us_, static_cast<double>(now_us)) +
                    static_cast<double>(wire_bytes) / bytes_per_us_;
  return static_cast<int64_t>(std::ceil(egress_free_us_)) + delay_us_;
}

int64_t Shaper::Arrival(int64_t now_us, int64_t wire_bytes) {
  if (!shaped()) return now_us;
  MutexLock lock(&mutex_);
  // The first byte came no later than the frame's own length at full rate before its last.
  const double now = static_cast<double>(now_us);
  const double length = static_cast<double>(wire_bytes) / bytes_per_us_;
  return static_cast<int64_t>(std::ceil(downlink_.Pass(now - length, now, length)));
}

}  // namespace isthmus
