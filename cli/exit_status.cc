#include "cli/exit_status.h"

#include "absl/strings/str_cat.h"

namespace isthmus {

int ExitStatus(const absl::Status& status, int signal) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kUnimplemented:
      return 2;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 3;
    case absl::StatusCode::kDataLoss:
      return 4;
    case absl::StatusCode::kCancelled:
      return signal != 0 ? 128 + signal : 1;
    default:
      return 1;
  }
}

std::string ErrorLine(const absl::Status& status) {
  std::string line = "isthmus: ";
  for (const char c : status.message()) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    const char shown = control ? ' ' : c;
    if (shown != ' ' || line.back() != ' ') line.push_back(shown);  // one blank for a run of them
  }
  if (status.message().empty()) absl::StrAppend(&line, absl::StatusCodeToString(status.code()));
  return line + "\n";
}

}  // namespace isthmus
