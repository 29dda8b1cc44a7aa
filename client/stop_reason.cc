#include "client/stop_reason.h"

#include <chrono>
#include <thread>

namespace isthmus {

absl::Status StopReason(absl::Status failure, const std::function<absl::Status()>& said) {
  constexpr int kLooks = 50;
  constexpr std::chrono::milliseconds kBetween(10);
  const bool waits = absl::IsCancelled(failure) || absl::IsUnavailable(failure);
  for (int look = 0; look < (waits ? kLooks : 1); ++look) {
    if (absl::Status reason = said(); !reason.ok()) return reason;
    if (waits) std::this_thread::sleep_for(kBetween);
  }
  return absl::IsCancelled(failure) ? absl::UnavailableError(failure.message()) : failure;
}

}  // namespace isthmus
