// Answers MeasureLinkRate of link/rate_probe.h.
#ifndef ISTHMUS_COORDINATOR_PROBE_SERVICE_H_
#define ISTHMUS_COORDINATOR_PROBE_SERVICE_H_

#include <algorithm>

#include "isthmus/v1/probe.grpc.pb.h"

namespace isthmus {

// On gRPC's threads; no state. What it sends is bounded by what gRPC lets a client receive.
class ProbeService final : public v1::Probe::CallbackService {
 public:
  grpc::ServerUnaryReactor* Echo(grpc::CallbackServerContext* context,
                                 const v1::EchoRequest* request,
                                 v1::EchoResponse* response) override {
    constexpr uint32_t kMostBytes = (4u << 20) - 1024;
    response->mutable_padding()->assign(std::min(request->reply_bytes(), kMostBytes), '\0');
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_PROBE_SERVICE_H_
