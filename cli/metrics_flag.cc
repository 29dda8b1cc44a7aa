#include "cli/metrics_flag.h"

#include "base/status.h"
#include "client/report.h"

namespace isthmus {

Flag MetricsFlag(const std::string& fallback) {
  return {.name = "metrics",
          .value = "HOST:PORT",
          .help = "Prometheus metrics, or `off`",
          .fallback = fallback};
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> StartMetrics(const Invocation& invocation,
                                                              absl::string_view role,
                                                              const TlsFiles& tls) {
  const std::string address = invocation.Text("metrics");
  if (address == "off") return std::unique_ptr<MetricsExporter>();
  ISTHMUS_RETURN_IF_ERROR(
      CheckAddressSecurity(address, tls, invocation.On("insecure"), "--metrics"));
  Metrics::Global().DeclareRole(role, IsthmusVersion());
  return MetricsExporter::Start(address, "--metrics", &Metrics::Global());
}

}  // namespace isthmus
