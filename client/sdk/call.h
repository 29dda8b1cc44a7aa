// The numbers of isthmus.h, and the options that its functions share.
#ifndef ISTHMUS_CLIENT_SDK_CALL_H_
#define ISTHMUS_CLIENT_SDK_CALL_H_

#include <string>

#include "base/c_interface.h"
#include "base/status.h"
#include "client/sdk/isthmus.h"
#include "link/tls.h"

namespace isthmus {

isthmus_status StatusNumber(const absl::Status& status);
// A callback's refusal as a Status, which StatusNumber knows again.
absl::Status CallbackError(absl::string_view callback, int returned);

template <typename Work>
isthmus_status Call(const char* function, const Work& work) noexcept {
  return CallFromC(function, StatusNumber, work);
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
