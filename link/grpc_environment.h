// What every gRPC client and server of this program has in common.
#ifndef ISTHMUS_LINK_GRPC_ENVIRONMENT_H_
#define ISTHMUS_LINK_GRPC_ENVIRONMENT_H_

#include <string>

namespace isthmus {

// Before the first channel or server (idempotent, thread-safe): gRPC's own log lines become debug
// lines of ours, so that an error stays one line; servers built afterwards have the standard health
// service and reflection.
void PrepareGrpc();

// "ipv4:127.0.0.1:7601" as gRPC names a peer -> "127.0.0.1:7601".
std::string PeerAddress(const std::string& grpc_peer);

}  // namespace isthmus

#endif  // ISTHMUS_LINK_GRPC_ENVIRONMENT_H_
