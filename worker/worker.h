// The server role: joins a coordinator, obeys the Plan, hosts Sessions.
#ifndef ISTHMUS_WORKER_WORKER_H_
#define ISTHMUS_WORKER_WORKER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "engine/stage.h"
#include "link/tls.h"
#include "pipeline/edge_dump.h"
#include "worker/weights.h"

namespace isthmus {

struct WorkerOptions {
  std::string coordinator;  // HOST:PORT
  std::string listen = "127.0.0.1:7601";
  std::string advertise;           // how peers reach it; empty: the address it listens on
  std::string metrics;             // HOST:PORT where it serves /metrics; empty: nowhere
  std::string name;                // empty: host name and port
  std::string state_dir;           // codec state, weight cache
  bool started_by_client = false;  // a child of an embedded cluster
  WeightPlaces weights;
  int64_t memory_limit_bytes = 0;  // 0: none; the planner keeps to it
  int64_t threads = 0;
  std::string device = "cpu";
  TlsFiles tls;
  bool insecure = false;
  std::string version;
  double join_wait_s = 60.0;        // for a coordinator that is not there yet
  double emulated_rate_mbps = 0.0;  // link emulation for embedded clusters and benches: 0 = none
  double emulated_delay_ms = 0.0;
  EdgeDumpOptions dump;  // what this worker sends over its edges
};

// Runs until `wait_for_stop` returns, then drains: takes no new job, lets a running one end unless
// `stop_now` says otherwise. `ready` gets the port it listens on once it has joined.
// kInvalidArgument for a taken port (--listen) or an unreachable advertise address; kUnavailable
// when no coordinator answers.
absl::Status RunWorker(const WorkerOptions& options, Engine* engine,
                       std::function<void(int port)> ready, std::function<void()> wait_for_stop,
                       std::function<bool()> stop_now);

}  // namespace isthmus

#endif  // ISTHMUS_WORKER_WORKER_H_
