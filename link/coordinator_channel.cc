#include "link/coordinator_channel.h"

#include "base/status.h"
#include "link/grpc_environment.h"

namespace isthmus {

absl::StatusOr<std::unique_ptr<v1::Control::Stub>> ControlStub(const std::string& coordinator,
                                                               const TlsFiles& tls) {
  PrepareGrpc();
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials,
                           ChannelCredentials(tls));
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);  // also the time one connection attempt has
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 4000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 4000);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return v1::Control::NewStub(grpc::CreateCustomChannel(coordinator, credentials, args));
}

absl::Status FromCoordinator(const grpc::Status& status, const std::string& coordinator) {
  if (status.ok()) return absl::OkStatus();
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Unavailable("coordinator: expected an answer from ", coordinator, ", got ",
                         status.error_message(), " (--coordinator)");
    case grpc::StatusCode::UNIMPLEMENTED:
      return InvalidArgument("coordinator: expected one at ", coordinator,
                             ", got another service (--coordinator)");
    default:
      return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                          status.error_message());
  }
}

}  // namespace isthmus
