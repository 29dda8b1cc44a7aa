// Metrics: the table in metrics.def as constants, cheap atomic handles, and a snapshot for whoever
// exports.
//
//   Counter sent = Metrics::Global().Get(kWireBytesTotal, {"0", "forward", "client", job});   //
//   once per edge sent.Add(bytes); // any thread, lock-free
//
// Get locks and looks up: keep the handle. A handle stays valid for ever; after its series was
// dropped it counts into nothing. Threads: everything here may be called from any thread.
#ifndef ISTHMUS_METRICS_METRICS_H_
#define ISTHMUS_METRICS_METRICS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace isthmus {

enum class MetricType { kCounter, kGauge, kHistogram };

// A row of metrics.def.
struct MetricInfo {
  MetricType type;
  absl::string_view name;
  absl::string_view labels;  // comma-separated names
  absl::string_view where;   // comma-separated roles
  absl::string_view unit;
  absl::string_view help;
};
absl::Span<const MetricInfo> AllMetrics();

namespace metrics_internal {

enum Row : int {
#define ISTHMUS_METRIC(id, type, name, labels, where, unit, help) id##Row,
#include "metrics/metrics.def"
#undef ISTHMUS_METRIC
  kRows
};

// Upper bounds of every histogram, in seconds: from a tiny model's step on loopback to a slow
// link's.
inline constexpr std::array<double, 14> kBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                   1,     2.5,  5,     10,   30,  60,   300};

struct Cell {
  std::atomic<double> value{0};  // of a histogram: the sum; whole numbers are exact up to 2^53
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts{};
};

}  // namespace metrics_internal

class Counter {
 public:
  void Add(double amount) { cell_->value.fetch_add(amount, std::memory_order_relaxed); }
  double value() const { return cell_->value.load(std::memory_order_relaxed); }

 private:
  friend class Metrics;
  explicit Counter(std::shared_ptr<metrics_internal::Cell> cell) : cell_(std::move(cell)) {}
  std::shared_ptr<metrics_internal::Cell> cell_;
};

class Gauge {
 public:
  void Set(double value) { cell_->value.store(value, std::memory_order_relaxed); }
  double value() const { return cell_->value.load(std::memory_order_relaxed); }

 private:
  friend class Metrics;
  explicit Gauge(std::shared_ptr<metrics_internal::Cell> cell) : cell_(std::move(cell)) {}
  std::shared_ptr<metrics_internal::Cell> cell_;
};

class Histogram {
 public:
  void Observe(double value);

 private:
  friend class Metrics;
  explicit Histogram(std::shared_ptr<metrics_internal::Cell> cell) : cell_(std::move(cell)) {}
  std::shared_ptr<metrics_internal::Cell> cell_;
};

// The constants of the table, typed by what Get returns: kWireBytesTotal, kLoss, kStepSeconds …
template <typename Handle>
struct MetricId {
  int row;
};
#define ISTHMUS_METRIC(id, type, name, labels, where, unit, help) \
  inline constexpr MetricId<type> id{metrics_internal::id##Row};
#include "metrics/metrics.def"
#undef ISTHMUS_METRIC

using LabelValues = std::vector<std::string>;  // in the order of the table's label names

struct SeriesSnapshot {
  LabelValues labels;
  double value = 0;  // of a histogram: the sum
  std::vector<uint64_t>
      buckets;  // cumulative, one per bound and then +Inf; empty unless a histogram
};
struct FamilySnapshot {
  const MetricInfo* info;
  std::vector<std::string> label_names;
  std::vector<SeriesSnapshot> series;  // sorted by labels, never empty
};

class Metrics {
 public:
  explicit Metrics(Clock* clock = Clock::Real()) : clock_(clock) {}
  static Metrics& Global();

  // Shows build_info and the zeros of every metric that `role` ("worker", "client", "coordinator")
  // reports.
  void DeclareRole(absl::string_view role, absl::string_view version);

  // The series with these label values, made when it is new. Values are cut to 64 printable ASCII
  // characters. Beyond 1024 series of a metric all new ones share one whose labels say "other": a
  // scrape stays bounded whatever peers call themselves.
  template <typename Handle>
  Handle Get(MetricId<Handle> id, LabelValues labels = {}) {
    return Handle(Find(id.row, std::move(labels)));
  }

  // Sets the whole family at once: what is not listed goes. For gauges that mirror a table (workers
  // by state).
  void Replace(MetricId<Gauge> id, const std::vector<std::pair<LabelValues, double>>& series);

  // The job is over: its series go an hour from now. A later Get for the same job keeps them.
  void JobEnded(absl::string_view job);

  // What a scrape shows now, process_* included; drops what is due first.
  std::vector<FamilySnapshot> Snapshot();

 private:
  using Cell = metrics_internal::Cell;
  using Family = std::map<LabelValues, std::shared_ptr<Cell>>;

  std::shared_ptr<Cell> Find(int row, LabelValues labels);
  void DropDueJobs() ISTHMUS_REQUIRES(mutex_);
  void ReadProcess();

  Clock* const clock_;
  Mutex mutex_;
  std::array<Family, metrics_internal::kRows> families_ ISTHMUS_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> due_us_ ISTHMUS_GUARDED_BY(mutex_);  // job -> when its series go
};

inline constexpr int64_t kKeepEndedJobUs = int64_t{3600} * 1'000'000;

}  // namespace isthmus

#endif  // ISTHMUS_METRICS_METRICS_H_
