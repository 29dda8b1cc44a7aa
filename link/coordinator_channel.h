// How both sides of coordinator_client.h reach a coordinator.
#ifndef ISTHMUS_LINK_COORDINATOR_CHANNEL_H_
#define ISTHMUS_LINK_COORDINATOR_CHANNEL_H_

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "isthmus/v1/control.grpc.pb.h"
#include "link/tls.h"

namespace isthmus {

// A channel of its own; no HTTP proxy; a coordinator whose machine went away is noticed within 8 s.
// Connects when first used.
absl::StatusOr<std::unique_ptr<v1::Control::Stub>> ControlStub(const std::string& coordinator,
                                                               const TlsFiles& tls);

// The same code; the message names the coordinator. A deadline that passed is kUnavailable.
absl::Status FromCoordinator(const grpc::Status& status, const std::string& coordinator);

// Waits between attempts: 0.1 s, doubled up to 1 s, so that a coordinator that comes back is found
// within a second.
class Backoff {
 public:
  int64_t NextUs() {
    const int64_t us = next_us_;
    next_us_ = std::min<int64_t>(2 * next_us_, 1'000'000);
    return us;
  }
  void Reset() { next_us_ = 100'000; }

 private:
  int64_t next_us_ = 100'000;
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_COORDINATOR_CHANNEL_H_
