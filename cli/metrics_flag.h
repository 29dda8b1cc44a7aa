// --metrics: where a process shows its Prometheus metrics.
#ifndef ISTHMUS_CLI_METRICS_FLAG_H_
#define ISTHMUS_CLI_METRICS_FLAG_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/flags.h"
#include "coordinator/metrics_exporter.h"
#include "link/tls.h"

namespace isthmus {

// `fallback` is an address, or "off".
Flag MetricsFlag(const std::string& fallback);
// `role`: "worker", "client". `tls`: of the process's links; metrics are plain HTTP, but a cluster
// that has them may be scraped from another machine without --insecure (docs/security.md). Null
// with `off`. Keep it as long as metrics are to be served.
absl::StatusOr<std::unique_ptr<MetricsExporter>> StartMetrics(const Invocation& invocation,
                                                              absl::string_view role,
                                                              const TlsFiles& tls);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_METRICS_FLAG_H_
