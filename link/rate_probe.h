// How fast this host's link is, measured against the coordinator before a plan is made.
#ifndef ISTHMUS_LINK_RATE_PROBE_H_
#define ISTHMUS_LINK_RATE_PROBE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "link/tls.h"

namespace isthmus {

struct LinkRate {
  double up_mbps = 0.0, down_mbps = 0.0;
  double round_trip_s = 0.0;
  double slower_mbps() const { return up_mbps < down_mbps ? up_mbps : down_mbps; }
};

// Sends messages of growing size there and asks for as many back until one takes 80 ms: a quarter
// of a second at 10 Mbit/s. The best of `rounds` at random times counts, because workers that start
// together share the coordinator's link. That link bounds what can be seen, and what goes through
// TCP's slow start is slower than a stream later: a lower bound. Waits up to `wait_us` for a
// coordinator. kUnavailable when none answers; kUnimplemented when it is too old to.
absl::StatusOr<LinkRate> MeasureLinkRate(const std::string& coordinator, const TlsFiles& tls,
                                         int64_t wait_us, int rounds);

// The measurement over any way to send `up` bytes and get `down` back, which returns the seconds
// that it took.
absl::StatusOr<LinkRate> MeasureLinkRate(
    const std::function<absl::StatusOr<double>(int64_t up, int64_t down)>& exchange);

}  // namespace isthmus

#endif  // ISTHMUS_LINK_RATE_PROBE_H_
