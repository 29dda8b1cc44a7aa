#include "link/coordinator_channel.h"

#include "base/status.h"
#include "link/grpc_environment.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<grpc::Channel>> ControlChannel(const std::string& coordinator,
                                                              const TlsFiles& tls) {
  PrepareGrpc();
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials,
                           ChannelCredentials(tls));
  grpc::ChannelArguments args;
  SetHttpProxy(HttpProxyFor(coordinator), &args);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);  // also the time one connection attempt has
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 4000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 4000);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(coordinator, credentials, args);
}

void AwaitConnection(grpc::Channel* channel, std::chrono::steady_clock::time_point until,
                     const std::function<bool()>& stopping) {
  constexpr std::chrono::milliseconds kSlice(50);
  // A call that failed although the channel is connected is not made again at once.
  bool connected = channel->GetState(true) == GRPC_CHANNEL_READY;
  while (!stopping()) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= left.zero()) return;
    const auto slice =
        std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::microseconds>(
                                               std::min<decltype(left)>(left, kSlice));
    if (connected) {
      connected = !channel->WaitForStateChange(GRPC_CHANNEL_READY, slice);
    } else if (channel->WaitForConnected(slice)) {
      return;
    }
  }
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
