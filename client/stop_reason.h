// Why a job ended, when a link said so first.
#ifndef ISTHMUS_CLIENT_STOP_REASON_H_
#define ISTHMUS_CLIENT_STOP_REASON_H_

#include <functional>

#include "absl/status/status.h"

namespace isthmus {

// A coordinator that ends a job tells the client and the workers at once. A worker that hears first
// cancels its links, and `failure` is what the client sees of it; the coordinator's own word
// (`said`, OK until it came) knows more, and is waited for half a second. Without it a cancelled
// link is a peer that is gone (kUnavailable): who was cancelled by a user has been told by the
// coordinator.
absl::Status StopReason(absl::Status failure, const std::function<absl::Status()>& said);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_STOP_REASON_H_
