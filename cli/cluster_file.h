// The --cluster file of `isthmus plan`: workers that do not run yet.
//
//   workers:
//     - {name: a, gflops: 50, rate_mbps: 100, memory_limit: 8GiB}
#ifndef ISTHMUS_CLI_CLUSTER_FILE_H_
#define ISTHMUS_CLI_CLUSTER_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "isthmus/v1/plan.pb.h"

namespace isthmus {

// kInvalidArgument names the file and the key; at least one worker.
absl::StatusOr<std::vector<v1::WorkerInfo>> ReadClusterFile(const std::string& path);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_CLUSTER_FILE_H_
