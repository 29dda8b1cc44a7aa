// How both sides of coordinator_client.h reach a coordinator.
#ifndef ISTHMUS_LINK_COORDINATOR_CHANNEL_H_
#define ISTHMUS_LINK_COORDINATOR_CHANNEL_H_

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "isthmus/v1/control.grpc.pb.h"
#include "link/tls.h"

namespace isthmus {

// A channel of its own, through the process's HTTP proxy if it has one; a coordinator whose machine
// went away is noticed within 8 s. Connects when first used.
absl::StatusOr<std::shared_ptr<grpc::Channel>> ControlChannel(const std::string& coordinator,
                                                              const TlsFiles& tls);

// Waits between two attempts of a blocking call: until `until`, until the channel is connected, or
// until `stopping`, which is asked every 50 ms. A blocking call drives its channel's connection
// only while it runs, and fails at once while the channel has none. Somebody who slept in between
// would leave a handshake alone until its second is over: a TLS connection would never come about.
void AwaitConnection(grpc::Channel* channel, std::chrono::steady_clock::time_point until,
                     const std::function<bool()>& stopping);

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
