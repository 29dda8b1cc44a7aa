#include "metrics/exporter/exporter.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <sstream>

namespace isthmus {
namespace {

prometheus::MetricType TypeOf(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::ClientMetric MetricOf(const FamilySnapshot& family, const SeriesSnapshot& series) {
  prometheus::ClientMetric metric;
  for (size_t i = 0; i < series.labels.size(); ++i) {
    metric.label.push_back({family.label_names[i], series.labels[i]});
  }
  metric.counter.value = series.value;
  metric.gauge.value = series.value;
  if (series.buckets.empty()) return metric;
  metric.histogram.sample_count = series.buckets.back();
  metric.histogram.sample_sum = series.value;
  for (size_t i = 0; i < series.buckets.size(); ++i) {
    const double bound = i < metrics_internal::kBounds.size()
                             ? metrics_internal::kBounds[i]
                             : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({series.buckets[i], bound});
  }
  return metric;
}

std::vector<prometheus::MetricFamily> CollectFamilies(Metrics& metrics) {
  std::vector<prometheus::MetricFamily> families;
  for (const FamilySnapshot& snapshot : metrics.Snapshot()) {
    prometheus::MetricFamily& family = families.emplace_back();
    family.name = std::string(snapshot.info->name);
    family.help = std::string(snapshot.info->help);
    family.type = TypeOf(snapshot.info->type);
    for (const SeriesSnapshot& series : snapshot.series) {
      family.metric.push_back(MetricOf(snapshot, series));
    }
  }
  return families;
}

}  // namespace

std::string RenderMetrics(Metrics& metrics) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, CollectFamilies(metrics));
  return out.str();
}

}  // namespace isthmus
