// Channel and server arguments of the gRPC carrier.
#ifndef ISTHMUS_LINK_GRPC_OPTIONS_H_
#define ISTHMUS_LINK_GRPC_OPTIONS_H_

#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

#include "link/grpc_link.h"

namespace isthmus {

inline constexpr char kOpenMethod[] = "/isthmus.v1.DataLink/Open";

grpc::ChannelArguments LinkChannelArguments(const std::string& address, const GrpcOptions& options);
void AddLinkArguments(const GrpcOptions& options, grpc::ServerBuilder* builder);

// How long one attempt, or one accepted stream, has for its first message.
inline constexpr int64_t kHandshakeUs = 5'000'000;

}  // namespace isthmus

#endif  // ISTHMUS_LINK_GRPC_OPTIONS_H_
