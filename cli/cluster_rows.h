// How status, jobs and workers show what a coordinator says.
#ifndef ISTHMUS_CLI_CLUSTER_ROWS_H_
#define ISTHMUS_CLI_CLUSTER_ROWS_H_

#include <string>

#include "isthmus/v1/control.pb.h"
#include "nlohmann/json_fwd.hpp"

namespace isthmus {

// Lists of the rows that the coordinator's HTTP API shows too (coordinator/rows_json.h).
nlohmann::ordered_json ToJson(const v1::ListWorkersResponse& response);
nlohmann::ordered_json ToJson(const v1::ListJobsResponse& response);
std::string TableOf(const v1::ListWorkersResponse& response);
std::string TableOf(const v1::ListJobsResponse& response);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_CLUSTER_ROWS_H_
