// Coordinator: schedules jobs on workers. The shell around State: io thread, gRPC, HTTP, history,
// signals.
#ifndef ISTHMUS_COORDINATOR_COORDINATOR_H_
#define ISTHMUS_COORDINATOR_COORDINATOR_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/state.h"
#include "link/tls.h"

namespace isthmus {

struct CoordinatorOptions {
  std::string listen = "127.0.0.1:7600";  // gRPC; port 0 = any
  std::string http = "127.0.0.1:7680";    // numeric host; port 0 = any
  std::string state_dir;                  // empty: nothing outlives the process
  TlsFiles tls;                           // of gRPC; HTTP is plain and read-only
  bool insecure = false;                  // addresses beyond loopback without TLS
  std::string version;
  int64_t heartbeat_us = 1'000'000;
  int64_t drain_us = 8'000'000;  // what running jobs have to write a checkpoint when it ends
};

class Coordinator {
 public:
  // Returns when both ports answer and /readyz says ok. kInvalidArgument names the flag that is
  // wrong; kDataLoss: the history is damaged.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Start(const CoordinatorOptions& options,
                                                            Planner planner);
  virtual ~Coordinator() = default;  // stops at once
  virtual int grpc_port() const = 0;
  virtual int http_port() const = 0;
  // Takes no new job, asks running ones to stop. Any thread; a second call stops without waiting
  // for them.
  virtual void Drain() = 0;
  virtual void WaitUntilDrained() = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_COORDINATOR_H_
