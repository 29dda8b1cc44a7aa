// What the coordinator serves over HTTP: the status page, health, metrics and the JSON API. All
// read-only.
#ifndef ISTHMUS_COORDINATOR_HTTP_API_H_
#define ISTHMUS_COORDINATOR_HTTP_API_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "coordinator/http_server.h"
#include "isthmus/v1/control.pb.h"

namespace isthmus {

struct HttpSources {
  std::function<std::vector<v1::WorkerRow>()> workers;
  std::function<std::vector<v1::JobRow>()> jobs;
  std::function<std::string()> not_ready;  // why /readyz is 503; empty: ready
  std::string version;
};

// Routes: / /healthz /readyz /metrics /api/v1/workers /api/v1/jobs /api/v1/jobs/ID; else 404 (JSON
// below /api). Counts requests by route and code.
HttpHandler MakeHttpApi(HttpSources sources);

std::string WorkersJson(absl::Span<const v1::WorkerRow> workers);
std::string JobsJson(absl::Span<const v1::JobRow> jobs);
std::string JobJson(const v1::JobRow& job);

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_HTTP_API_H_
