#include "metrics/docs.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "metrics/metrics.h"

namespace isthmus {
namespace {

absl::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "";
}

}  // namespace

std::string MetricsPage() {
  std::string page =
      "# Metrics\n\n"
      "Written from `metrics/metrics.def` by the target `metrics_docs`; do not edit.\n\n"
      "The coordinator serves them at `/metrics` of its `--http` address, a worker and `isthmus "
      "train` at `/metrics` of their\n"
      "`--metrics` address. Series with a `job` label stay for an hour after the job ended. "
      "Prometheus has a target label `job` of\n"
      "its own: scrape with `honor_labels: true`, or find ours as `exported_job`.\n\n"
      "| name | type | labels | unit | reported by | meaning |\n"
      "|---|---|---|---|---|---|\n";
  for (const MetricInfo& info : AllMetrics()) {
    absl::StrAppend(&page, "| `", info.name, "` | ", TypeName(info.type), " | ",
                    absl::StrReplaceAll(info.labels, {{",", ", "}}), " | ", info.unit, " | ",
                    absl::StrReplaceAll(info.where, {{",", ", "}}), " | ", info.help, " |\n");
  }
  return page;
}

}  // namespace isthmus
