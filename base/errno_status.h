// What a call of the system said, as a status.
#ifndef ISTHMUS_BASE_ERRNO_STATUS_H_
#define ISTHMUS_BASE_ERRNO_STATUS_H_

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace isthmus {

// Of errno: "PATH: expected to VERB, got …".
inline absl::Status FromErrno(absl::string_view path, absl::string_view verb) {
  const int error = errno;
  const std::string text =
      absl::StrCat(path, ": expected to ", verb, ", got ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(text);
  if (error == ENOSPC) return absl::ResourceExhaustedError(text);
  return absl::FailedPreconditionError(text);
}

}  // namespace isthmus

#endif  // ISTHMUS_BASE_ERRNO_STATUS_H_
