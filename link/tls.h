// TLS from files, and the rule that addresses beyond loopback need it.
#ifndef ISTHMUS_LINK_TLS_H_
#define ISTHMUS_LINK_TLS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace isthmus {

// PEM files. Server: cert and key needed; with `ca` it asks for and checks client certificates
// (mTLS). Client: `ca` needed; cert and key where the server wants them.
struct TlsFiles {
  std::string ca, cert, key;
  bool enabled() const { return !ca.empty() || !cert.empty() || !key.empty(); }
};

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(const TlsFiles& files);
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const TlsFiles& files);

// OK for 127.0.0.0/8, [::1], localhost and unix sockets; kInvalidArgument naming the flag
// otherwise, unless TLS is on or `insecure` is given (which warns once per address).
// 127.0.0.0/8, [::1], localhost and unix sockets, with or without a port.
bool IsLoopback(absl::string_view address);
absl::Status CheckAddressSecurity(absl::string_view address, const TlsFiles& tls, bool insecure,
                                  absl::string_view flag);

}  // namespace isthmus

#endif  // ISTHMUS_LINK_TLS_H_
