// How status, jobs and workers show what a coordinator says.
#ifndef ISTHMUS_CLI_CLUSTER_ROWS_H_
#define ISTHMUS_CLI_CLUSTER_ROWS_H_

#include <string>

#include "isthmus/v1/control.pb.h"
#include "nlohmann/json_fwd.hpp"

namespace isthmus {

nlohmann::ordered_json ToJson(
    const v1::ListWorkersResponse& response);  // [{"name","address","state",…}]
nlohmann::ordered_json ToJson(
    const v1::ListJobsResponse& response);  // [{"id","name","status","step",…}]
std::string TableOf(const v1::ListWorkersResponse& response);
std::string TableOf(const v1::ListJobsResponse& response);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_CLUSTER_ROWS_H_
