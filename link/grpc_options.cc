#include "link/grpc_options.h"

#include <algorithm>
#include <limits>
#include <string>

#include "link/grpc_environment.h"

namespace isthmus {
namespace {

// gRPC refuses a longer message when it has read its five-byte prefix, before it allocates.
int MaxMessageBytes(const GrpcOptions& options) {
  const int64_t bytes = options.link.max_payload_bytes + FrameHeader::kBytes;
  return static_cast<int>(std::min<int64_t>(bytes, std::numeric_limits<int>::max()));
}

int Milliseconds(int64_t us) {
  return static_cast<int>(std::clamp<int64_t>(us / 1000, 1, std::numeric_limits<int>::max()));
}

// HTTP/2 pings find a silent peer: unlike a message they do not wait behind a frame of many
// megabytes on a slow link.
template <typename SetInt>
void AddKeepAlive(const GrpcOptions& options, SetInt set) {
  set(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.link.keepalive_us));
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(3 * options.link.keepalive_us));
  set(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  set(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);  // our own peers ping as often as they were told to
}

}  // namespace

grpc::ChannelArguments LinkChannelArguments(const std::string& address,
                                            const GrpcOptions& options) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(MaxMessageBytes(options));
  args.SetMaxSendMessageSize(-1);
  AddKeepAlive(options, [&](const char* key, int value) { args.SetInt(key, value); });
  // Links share no connection, and wait for each other's backoff as little.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);  // also the time one connection attempt has
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  SetHttpProxy(options.proxy.empty() ? HttpProxyFor(address) : options.proxy, &args);
  return args;
}

void AddLinkArguments(const GrpcOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(MaxMessageBytes(options));
  builder->SetMaxSendMessageSize(-1);
  AddKeepAlive(options,
               [&](const char* key, int value) { builder->AddChannelArgument(key, value); });
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT,
                              0);  // a taken port is an error, not a second listener
}

}  // namespace isthmus
