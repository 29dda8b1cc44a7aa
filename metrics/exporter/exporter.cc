#include "metrics/exporter/exporter.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/text_serializer.h>

#include <exception>
#include <limits>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "base/status.h"

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

class TableCollectable : public prometheus::Collectable {
 public:
  explicit TableCollectable(Metrics* metrics) : metrics_(metrics) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    return CollectFamilies(*metrics_);
  }

 private:
  Metrics* const metrics_;
};

class HttpExporter : public MetricsExporter {
 public:
  HttpExporter(std::unique_ptr<prometheus::Exposer> exposer, Metrics* metrics)
      : collectable_(std::make_shared<TableCollectable>(metrics)), exposer_(std::move(exposer)) {
    exposer_->RegisterCollectable(collectable_);
  }
  int port() const override { return exposer_->GetListeningPorts().front(); }

 private:
  std::shared_ptr<TableCollectable> collectable_;
  std::unique_ptr<prometheus::Exposer> exposer_;  // stops its threads first
};

// civetweb binds numeric addresses only; an unreadable one would be taken for a port and bound
// everywhere.
absl::StatusOr<std::string> NumericAddress(const std::string& address, absl::string_view flag) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return InvalidArgument(flag, ": expected HOST:PORT, got \"", address, "\"");
  }
  std::string host = address.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.find_first_not_of("0123456789.:[]abcdefABCDEF") != std::string::npos) {
    return InvalidArgument(flag, ": expected a numeric address, got \"", address, "\"");
  }
  return absl::StrCat(host, ":", port);
}

}  // namespace

std::string RenderMetrics(Metrics& metrics) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, CollectFamilies(metrics));
  return out.str();
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(const std::string& address,
                                                                        absl::string_view flag,
                                                                        Metrics* metrics) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string numeric, NumericAddress(address, flag));
  try {
    return std::make_unique<HttpExporter>(std::make_unique<prometheus::Exposer>(numeric), metrics);
  } catch (const std::exception&) {
    return InvalidArgument(flag, ": expected a free address of this host, got ", address,
                           " (taken, or not ours)");
  }
}

}  // namespace isthmus
