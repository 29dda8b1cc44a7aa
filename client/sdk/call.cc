#include "client/sdk/call.h"

namespace isthmus {
namespace {

constexpr char kCallbackUrl[] = "isthmus.callback";

// The arguments are replaced by their numbers before they become text.
#define ISTHMUS_TEXT(x) #x
#define ISTHMUS_NUMBER(x) ISTHMUS_TEXT(x)
constexpr char kVersion[] = ISTHMUS_NUMBER(ISTHMUS_VERSION_MAJOR) "." ISTHMUS_NUMBER(
    ISTHMUS_VERSION_MINOR) "." ISTHMUS_NUMBER(ISTHMUS_VERSION_PATCH);

}  // namespace

absl::Status CallbackError(absl::string_view callback, int returned) {
  absl::Status status = absl::AbortedError(
      absl::StrCat(callback, ": expected the callback to return 0, got ", returned));
  status.SetPayload(kCallbackUrl, absl::Cord());
  return status;
}

isthmus_status StatusNumber(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ISTHMUS_OK;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kUnimplemented:
      return ISTHMUS_INVALID_ARGUMENT;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return ISTHMUS_UNAVAILABLE;
    case absl::StatusCode::kDataLoss:
      return ISTHMUS_DATA_LOSS;
    case absl::StatusCode::kResourceExhausted:
      return ISTHMUS_RESOURCE_EXHAUSTED;
    case absl::StatusCode::kCancelled:
      return ISTHMUS_CANCELLED;
    case absl::StatusCode::kAborted:
      return status.GetPayload(kCallbackUrl).has_value() ? ISTHMUS_CALLBACK : ISTHMUS_INTERNAL;
    default:
      return ISTHMUS_INTERNAL;
  }
}

}  // namespace isthmus

const char* isthmus_version(void) { return isthmus::kVersion; }

const char* isthmus_last_error(void) { return isthmus::LastError()->c_str(); }
