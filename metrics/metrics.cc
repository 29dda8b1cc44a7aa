#include "metrics/metrics.h"

#include <algorithm>

#include "absl/strings/str_split.h"
#include "base/check.h"
#include "metrics/process.h"

namespace isthmus {
namespace {

using metrics_internal::kBounds;
using metrics_internal::kRows;

constexpr MetricType kTypeOfCounter = MetricType::kCounter;
constexpr MetricType kTypeOfGauge = MetricType::kGauge;
constexpr MetricType kTypeOfHistogram = MetricType::kHistogram;

constexpr MetricInfo kTable[] = {
#define ISTHMUS_METRIC(id, type, name, labels, where, unit, help) \
  {kTypeOf##type, name, labels, where, unit, help},
#include "metrics/metrics.def"
#undef ISTHMUS_METRIC
};

#if defined(__clang__)
constexpr char kCompiler[] = "clang " __clang_version__;
#else
constexpr char kCompiler[] = "g++ " __VERSION__;
#endif

constexpr size_t kMaxSeries = 1024;
constexpr size_t kMaxLabelChars = 64;

std::vector<std::string> LabelNames(const MetricInfo& info) {
  if (info.labels.empty()) return {};
  return absl::StrSplit(info.labels, ',');
}

// Printable ASCII: what a peer calls itself must neither break the exposition nor grow it.
std::string CleanLabel(std::string value) {
  if (value.size() > kMaxLabelChars) value.resize(kMaxLabelChars);
  for (char& c : value) {
    if (c < 0x20 || c > 0x7e) c = '_';
  }
  return value;
}

int JobLabel(const MetricInfo& info) {
  const std::vector<std::string> names = LabelNames(info);
  const auto it = std::find(names.begin(), names.end(), "job");
  return it == names.end() ? -1 : static_cast<int>(it - names.begin());
}

bool Contains(absl::string_view comma_list, absl::string_view word) {
  const std::vector<absl::string_view> words = absl::StrSplit(comma_list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

absl::Span<const MetricInfo> AllMetrics() { return kTable; }

void Histogram::Observe(double value) {
  const size_t bucket = std::lower_bound(kBounds.begin(), kBounds.end(), value) - kBounds.begin();
  cell_->counts[bucket].fetch_add(1, std::memory_order_relaxed);
  cell_->value.fetch_add(value, std::memory_order_relaxed);
}

Metrics& Metrics::Global() {
  static Metrics* const metrics = new Metrics;
  return *metrics;
}

void Metrics::DeclareRole(absl::string_view role, absl::string_view version) {
  Get(kBuildInfo, {std::string(version), ISTHMUS_REVISION, kCompiler}).Set(1);
  for (int row = 0; row < kRows; ++row) {
    if (!Contains(kTable[row].where, role)) continue;
    if (kTable[row].labels.empty()) Find(row, {});
    if (kTable[row].labels == "role") Find(row, {std::string(role)});
  }
}

std::shared_ptr<metrics_internal::Cell> Metrics::Find(int row, LabelValues labels) {
  const std::vector<std::string> names = LabelNames(kTable[row]);
  ISTHMUS_CHECK(labels.size() == names.size());
  for (std::string& value : labels) value = CleanLabel(std::move(value));
  MutexLock lock(&mutex_);
  if (const int job = JobLabel(kTable[row]); job >= 0) due_us_.erase(labels[job]);
  Family& family = families_[row];
  if (family.size() >= kMaxSeries && family.find(labels) == family.end()) {
    labels.assign(names.size(), "other");
  }
  std::shared_ptr<Cell>& cell = family[std::move(labels)];
  if (cell == nullptr) cell = std::make_shared<Cell>();
  return cell;
}

void Metrics::Replace(MetricId<Gauge> id,
                      const std::vector<std::pair<LabelValues, double>>& series) {
  Family next;
  for (const auto& [labels, value] : series) {
    if (next.size() >= kMaxSeries) break;
    ISTHMUS_CHECK(labels.size() == LabelNames(kTable[id.row]).size());
    LabelValues clean = labels;
    for (std::string& label : clean) label = CleanLabel(std::move(label));
    auto cell = std::make_shared<Cell>();
    cell->value.store(value, std::memory_order_relaxed);
    next[std::move(clean)] = std::move(cell);
  }
  MutexLock lock(&mutex_);
  families_[id.row].swap(next);
}

void Metrics::JobEnded(absl::string_view job) {
  MutexLock lock(&mutex_);
  due_us_[CleanLabel(std::string(job))] = clock_->NowUs() + kKeepEndedJobUs;
}

void Metrics::DropDueJobs() {
  const int64_t now_us = clock_->NowUs();
  for (auto due = due_us_.begin(); due != due_us_.end();) {
    if (due->second > now_us) {
      ++due;
      continue;
    }
    for (int row = 0; row < kRows; ++row) {
      const int job = JobLabel(kTable[row]);
      if (job < 0) continue;
      std::erase_if(families_[row],
                    [&](const auto& series) { return series.first[job] == due->first; });
    }
    due = due_us_.erase(due);
  }
}

void Metrics::ReadProcess() {
  const ProcessUsage usage = ReadProcessUsage();
  Find(kProcessCpuSecondsTotal.row, {})->value.store(usage.cpu_seconds);
  Get(kProcessResidentMemoryBytes).Set(static_cast<double>(usage.resident_bytes));
  Get(kProcessVirtualMemoryBytes).Set(static_cast<double>(usage.virtual_bytes));
  Get(kProcessStartTimeSeconds).Set(usage.start_unix_seconds);
  Get(kProcessOpenFds).Set(static_cast<double>(usage.open_fds));
  Get(kProcessMaxFds).Set(static_cast<double>(usage.max_fds));
}

std::vector<FamilySnapshot> Metrics::Snapshot() {
  ReadProcess();
  MutexLock lock(&mutex_);
  DropDueJobs();
  std::vector<FamilySnapshot> families;
  for (int row = 0; row < kRows; ++row) {
    if (families_[row].empty()) continue;
    FamilySnapshot& family = families.emplace_back();
    family.info = &kTable[row];
    family.label_names = LabelNames(kTable[row]);
    for (const auto& [labels, cell] : families_[row]) {
      SeriesSnapshot& series = family.series.emplace_back();
      series.labels = labels;
      series.value = cell->value.load(std::memory_order_relaxed);
      if (kTable[row].type != MetricType::kHistogram) continue;
      uint64_t cumulative = 0;
      for (const auto& count : cell->counts) {
        series.buckets.push_back(cumulative += count.load(std::memory_order_relaxed));
      }
    }
  }
  return families;
}

}  // namespace isthmus
