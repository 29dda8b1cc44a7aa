// What every gRPC client and server of this program has in common.
#ifndef ISTHMUS_LINK_GRPC_ENVIRONMENT_H_
#define ISTHMUS_LINK_GRPC_ENVIRONMENT_H_

#include <grpcpp/support/channel_arguments.h>

#include <string>

#include "absl/strings/string_view.h"

namespace isthmus {

// Before the first channel or server (idempotent, thread-safe): gRPC's own log lines become debug
// lines of ours, so that an error stays one line; servers built afterwards have the standard health
// service and reflection.
void PrepareGrpc();

// HOST:PORT of an HTTP proxy (CONNECT) for every channel to another machine, from now on. Without
// it none goes through one, whatever the environment says. Before the first channel.
void UseHttpProxy(const std::string& proxy);
// The proxy for a channel to `address`; empty: none.
std::string HttpProxyFor(absl::string_view address);
// gRPC would obey http_proxy even for 127.0.0.1. An empty `proxy` is none.
void SetHttpProxy(const std::string& proxy, grpc::ChannelArguments* args);

// "ipv4:127.0.0.1:7601" as gRPC names a peer -> "127.0.0.1:7601".
std::string PeerAddress(const std::string& grpc_peer);

}  // namespace isthmus

#endif  // ISTHMUS_LINK_GRPC_ENVIRONMENT_H_
