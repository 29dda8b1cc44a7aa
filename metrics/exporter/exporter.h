// The only user of prometheus-cpp: the text of /metrics, for whichever server answers.
#ifndef ISTHMUS_METRICS_EXPORTER_EXPORTER_H_
#define ISTHMUS_METRICS_EXPORTER_EXPORTER_H_

#include <string>

#include "metrics/metrics.h"

namespace isthmus {

// Content type of the text exposition.
inline constexpr char kExpositionContentType[] = "text/plain; version=0.0.4; charset=utf-8";

// The exposition of `metrics` now. Any thread.
std::string RenderMetrics(Metrics& metrics);

}  // namespace isthmus

#endif  // ISTHMUS_METRICS_EXPORTER_EXPORTER_H_
