// docs/metrics.md from the table of metrics.
#ifndef ISTHMUS_METRICS_DOCS_H_
#define ISTHMUS_METRICS_DOCS_H_

#include <string>

namespace isthmus {

std::string MetricsPage();

}  // namespace isthmus

#endif  // ISTHMUS_METRICS_DOCS_H_
