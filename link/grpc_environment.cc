#include "link/grpc_environment.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <cstdlib>
#include <mutex>

#include "base/log.h"
#include "link/tls.h"

namespace isthmus {
namespace {

void LogAsDebug(gpr_log_func_args* args) { LogDebug("grpc", absl::string_view(args->message)); }

std::string& ProcessProxy() {
  static auto* const proxy = new std::string;
  return *proxy;
}

}  // namespace

void PrepareGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function(LogAsDebug);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void UseHttpProxy(const std::string& proxy) { ProcessProxy() = proxy; }

std::string HttpProxyFor(absl::string_view address) {
  return IsLoopback(address) ? "" : ProcessProxy();
}

void SetHttpProxy(const std::string& proxy, grpc::ChannelArguments* args) {
  args->SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, proxy.empty() ? 0 : 1);
  // gRPC takes a URI and silently ignores anything else.
  if (!proxy.empty())
    args->SetString(GRPC_ARG_HTTP_PROXY,
                    proxy.find("://") == std::string::npos ? "http://" + proxy : proxy);
}

std::string PeerAddress(const std::string& grpc_peer) {
  for (const char* scheme : {"ipv4:", "ipv6:"}) {
    if (grpc_peer.rfind(scheme, 0) == 0) return grpc_peer.substr(5);
  }
  return grpc_peer;
}

}  // namespace isthmus
