// The gRPC service of control.proto: checks the form on gRPC's threads, posts to the io thread,
// writes what comes back.
#ifndef ISTHMUS_COORDINATOR_CONTROL_SERVICE_H_
#define ISTHMUS_COORDINATOR_CONTROL_SERVICE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/control_loop.h"
#include "link/tls.h"

namespace isthmus {

class ControlServer {
 public:
  // Serves control, the standard health service and reflection at `address` (HOST:PORT, port 0 =
  // any). `loop` outlives it and its io thread runs until Shutdown returned. kInvalidArgument
  // naming --listen when the port is taken or the address is not ours.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Listen(const std::string& address,
                                                               const TlsFiles& tls,
                                                               ControlLoop* loop);
  virtual ~ControlServer() = default;  // shuts down
  virtual int port() const = 0;
  // Ends every stream; returns when no stream is left. Not on the io thread.
  virtual void Shutdown() = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_CONTROL_SERVICE_H_
