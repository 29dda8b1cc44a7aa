// /metrics on an HTTP port of its own, for workers and clients; the text is prometheus-cpp's.
//
// Not prometheus-cpp's own server: it gives its threads 100 KiB of stack, less than the
// thread-local storage of a process that has LibTorch loaded, so that none starts there.
#ifndef ISTHMUS_COORDINATOR_METRICS_EXPORTER_H_
#define ISTHMUS_COORDINATOR_METRICS_EXPORTER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "metrics/metrics.h"

namespace isthmus {

// Serves http://ADDRESS/metrics on a thread of its own until destroyed.
class MetricsExporter {
 public:
  // `address` HOST:PORT, port 0 = any. kInvalidArgument naming `flag` when it is malformed, taken
  // or not ours.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const std::string& address,
                                                                const std::string& flag,
                                                                Metrics* metrics);
  virtual ~MetricsExporter() = default;
  virtual int port() const = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_METRICS_EXPORTER_H_
