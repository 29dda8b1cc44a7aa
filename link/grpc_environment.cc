#include "link/grpc_environment.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <cstdlib>
#include <mutex>

#include "base/log.h"

namespace isthmus {
namespace {

void LogAsDebug(gpr_log_func_args* args) { LogDebug("grpc", absl::string_view(args->message)); }

}  // namespace

void PrepareGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function(LogAsDebug);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

std::string PeerAddress(const std::string& grpc_peer) {
  for (const char* scheme : {"ipv4:", "ipv6:"}) {
    if (grpc_peer.rfind(scheme, 0) == 0) return grpc_peer.substr(5);
  }
  return grpc_peer;
}

}  // namespace isthmus
