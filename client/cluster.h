// The embedded cluster: a coordinator and workers as child processes of this program on 127.0.0.1,
// the same code as a real one.
#ifndef ISTHMUS_CLIENT_CLUSTER_H_
#define ISTHMUS_CLIENT_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cluster_child.h"

namespace isthmus {

struct ClusterOptions {
  int64_t workers = 2;
  int64_t threads = 0;  // of each worker; 0: its own choice
  std::string device = "cpu";
  std::string engine = "torch";  // of each worker
  std::string model_root;        // where workers look for the model
  std::string state_dir;         // workers get FOLDER/w0 …; "": nothing outlives them
  double link_rate_mbps = 0.0;   // emulation; 0: none
  double link_delay_ms = 0.0;
  std::string dump_dir;  // workers keep there what they send; "": they do not
  int64_t dump_steps = 0;
  double ready_wait_s = 60.0;
  std::function<std::string(const std::string& process)>
      log_path;  // "w0" -> file for what it writes
};

// Start it from a thread that lives as long as the cluster: the kernel kills the children when that
// thread ends.
class EmbeddedCluster {
 public:
  // Returns when the coordinator listens and every worker has joined. kUnavailable naming the child
  // that ended or did not come.
  static absl::StatusOr<std::unique_ptr<EmbeddedCluster>> Start(const ClusterOptions& options);
  ~EmbeddedCluster() { Stop(); }

  const std::string& coordinator() const { return coordinator_; }  // HOST:PORT
  // kUnavailable naming the first child that is gone, with the last line of its log.
  absl::Status Check();
  // SIGTERM to the workers, then to the coordinator; SIGKILL to what is left after 5 s. Idempotent.
  void Stop();

 private:
  EmbeddedCluster() = default;
  absl::Status StartCoordinator(const ClusterOptions& options);
  absl::Status StartWorkers(const ClusterOptions& options);

  std::string coordinator_;
  std::vector<std::unique_ptr<ChildProcess>> children_;  // the coordinator first
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_CLUSTER_H_
