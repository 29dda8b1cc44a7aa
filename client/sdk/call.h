// What every function of the C interface goes through: pointers are checked, a Status becomes a
// number and a line, no exception leaves.
#ifndef ISTHMUS_CLIENT_SDK_CALL_H_
#define ISTHMUS_CLIENT_SDK_CALL_H_

#include <new>
#include <string>

#include "base/status.h"
#include "client/sdk/isthmus.h"
#include "link/tls.h"

namespace isthmus {

// Of this thread.
std::string* LastError();
isthmus_status StatusNumber(const absl::Status& status);
// A callback's refusal as a Status, which StatusNumber knows again.
absl::Status CallbackError(absl::string_view callback, int returned);

template <typename Work>
isthmus_status Call(const char* function, const Work& work) noexcept {
  try {
    const absl::Status status = work();
    if (!status.ok()) *LastError() = absl::StrCat(function, ": ", status.message());
    return StatusNumber(status);
  } catch (const std::bad_alloc&) {
    LastError()->assign("out of memory");  // short enough to need none
    return ISTHMUS_RESOURCE_EXHAUSTED;
  } catch (...) {
    LastError()->assign("internal");
    return ISTHMUS_INTERNAL;
  }
}

template <typename... Pointers>
absl::Status NotNull(const Pointers*... pointers) {
  if ((... && (pointers != nullptr))) return absl::OkStatus();
  return InvalidArgument("expected no NULL, got one");
}

// A caller of another version has other members.
template <typename Struct>
absl::StatusOr<Struct> Known(const Struct* given) {
  ISTHMUS_RETURN_IF_ERROR(NotNull(given));
  if (given->struct_size != sizeof(Struct))
    return InvalidArgument("expected a struct_size of ", sizeof(Struct),
                           " (use the _INIT macro), got ", given->struct_size);
  return *given;
}

inline std::string TextOr(const char* text, const char* otherwise = "") {
  return text == nullptr ? otherwise : text;
}

// `Options` has tls_ca, tls_cert and tls_key.
template <typename Options>
absl::StatusOr<TlsFiles> TlsOf(const Options& options) {
  if ((options.tls_cert == nullptr) != (options.tls_key == nullptr))
    return InvalidArgument("tls_cert, tls_key: expected both or none, got one of them");
  return TlsFiles{TextOr(options.tls_ca), TextOr(options.tls_cert), TextOr(options.tls_key)};
}

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_SDK_CALL_H_
