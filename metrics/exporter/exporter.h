// The only user of prometheus-cpp: /metrics on an HTTP port of its own, or as text for a server
// that is already there.
#ifndef ISTHMUS_METRICS_EXPORTER_EXPORTER_H_
#define ISTHMUS_METRICS_EXPORTER_EXPORTER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "metrics/metrics.h"

namespace isthmus {

// Content type of the text exposition.
inline constexpr char kExpositionContentType[] = "text/plain; version=0.0.4; charset=utf-8";

// The exposition of `metrics` now. Any thread.
std::string RenderMetrics(Metrics& metrics);

// Serves http://ADDRESS/metrics on threads of its own until destroyed.
class MetricsExporter {
 public:
  // `address` HOST:PORT, port 0 = any. kInvalidArgument naming `flag` when it is malformed, taken
  // or not ours.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const std::string& address,
                                                                absl::string_view flag,
                                                                Metrics* metrics);
  virtual ~MetricsExporter() = default;
  virtual int port() const = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_METRICS_EXPORTER_EXPORTER_H_
