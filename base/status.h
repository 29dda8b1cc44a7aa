// Status shorthands. Every error a user can cause reads "WHAT: expected …, got … (where)"; the
// command line puts "isthmus: " in front.
#ifndef ISTHMUS_BASE_STATUS_H_
#define ISTHMUS_BASE_STATUS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace isthmus {

// What the user or a peer gave is wrong (exit status 2 when it is the user's).
template <typename... Parts>
absl::Status InvalidArgument(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}
// Bytes that were promised are gone or damaged: store mismatch, unreadable checkpoint (exit status
// 4).
template <typename... Parts>
absl::Status DataLoss(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat(parts...));
}
// A peer or the network failed (exit status 3 when it is for good).
template <typename... Parts>
absl::Status Unavailable(const Parts&... parts) {
  return absl::UnavailableError(absl::StrCat(parts...));
}
// A bound was reached; the answer is to stop and report, never to grow.
template <typename... Parts>
absl::Status ResourceExhausted(const Parts&... parts) {
  return absl::ResourceExhaustedError(absl::StrCat(parts...));
}
// Something this build or peer does not have; the message lists what there is.
template <typename... Parts>
absl::Status Unimplemented(const Parts&... parts) {
  return absl::UnimplementedError(absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status NotFound(const Parts&... parts) {
  return absl::NotFoundError(absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status Internal(const Parts&... parts) {
  return absl::InternalError(absl::StrCat(parts...));
}

// The same status with "prefix: " before its message.
inline absl::Status Annotate(const absl::Status& status, absl::string_view prefix) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(prefix, ": ", status.message()));
}

}  // namespace isthmus

#define ISTHMUS_RETURN_IF_ERROR(expr)                                                      \
  do {                                                                                     \
    if (absl::Status isthmus_status = (expr); !isthmus_status.ok()) return isthmus_status; \
  } while (false)

#define ISTHMUS_STATUS_CONCAT_INNER(a, b) a##b
#define ISTHMUS_STATUS_CONCAT(a, b) ISTHMUS_STATUS_CONCAT_INNER(a, b)
// ISTHMUS_ASSIGN_OR_RETURN(auto x, F()): x is the value, or the status is returned.
#define ISTHMUS_ASSIGN_OR_RETURN(lhs, expr) \
  ISTHMUS_ASSIGN_OR_RETURN_INNER(ISTHMUS_STATUS_CONCAT(isthmus_or_, __LINE__), lhs, expr)
#define ISTHMUS_ASSIGN_OR_RETURN_INNER(var, lhs, expr) \
  auto var = (expr);                                   \
  if (!var.ok()) return std::move(var).status();       \
  lhs = *std::move(var)

#endif  // ISTHMUS_BASE_STATUS_H_
