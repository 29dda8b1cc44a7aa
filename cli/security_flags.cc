#include "cli/security_flags.h"

#include "base/status.h"

namespace isthmus {

std::vector<Flag> SecurityFlags() {
  return {{.name = "tls-ca", .value = "FILE", .help = "certificates to trust (PEM)"},
          {.name = "tls-cert", .value = "FILE", .help = "own certificate (PEM)"},
          {.name = "tls-key", .value = "FILE", .help = "its key (PEM)"},
          {.name = "insecure",
           .kind = FlagKind::kSwitch,
           .help = "allow addresses beyond this machine without TLS"}};
}

std::vector<Flag> DialFlags() {
  std::vector<Flag> flags = SecurityFlags();
  flags.push_back({.name = "proxy",
                   .value = "HOST:PORT",
                   .help = "HTTP proxy for connections beyond this machine (default: none, "
                           "whatever http_proxy says)"});
  return flags;
}

TlsFiles TlsOf(const Invocation& invocation) {
  return {invocation.Text("tls-ca"), invocation.Text("tls-cert"), invocation.Text("tls-key")};
}

Flag CoordinatorFlag(bool required) {
  return {.name = "coordinator",
          .value = "HOST:PORT",
          .help = "the coordinator's gRPC address",
          .required = required};
}

absl::StatusOr<std::string> CoordinatorOf(const Invocation& invocation) {
  const std::string address = invocation.Text("coordinator");
  ISTHMUS_RETURN_IF_ERROR(
      CheckAddressSecurity(address, TlsOf(invocation), invocation.On("insecure"), "--coordinator"));
  return address;
}

}  // namespace isthmus
