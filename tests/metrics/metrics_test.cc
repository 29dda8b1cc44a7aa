#include "metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "metrics/process.h"

namespace isthmus {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// The family of that name, or none.
std::vector<SeriesSnapshot> SeriesOf(Metrics& metrics, absl::string_view name) {
  for (const FamilySnapshot& family : metrics.Snapshot()) {
    if (family.info->name == name) return family.series;
  }
  return {};
}

TEST(MetricsTable, NamesFollowTheRules) {
  std::set<std::string> names;
  for (const MetricInfo& info : AllMetrics()) {
    const std::string name(info.name);
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_TRUE(absl::StartsWith(name, "isthmus_") || absl::StartsWith(name, "process_")) << name;
    EXPECT_EQ(info.type == MetricType::kCounter, absl::EndsWith(name, "_total")) << name;
    EXPECT_FALSE(info.help.empty()) << name;
  }
}

TEST(Metrics, HandlesOfTheSameLabelsShareASeries) {
  Metrics metrics;
  Counter first = metrics.Get(kWireBytesTotal, {"0", "forward", "client", "job-1"});
  Counter second = metrics.Get(kWireBytesTotal, {"0", "forward", "client", "job-1"});
  Counter other = metrics.Get(kWireBytesTotal, {"0", "backward", "client", "job-1"});
  first.Add(3);
  second.Add(4);
  other.Add(5);
  const auto series = SeriesOf(metrics, "isthmus_wire_bytes_total");
  ASSERT_THAT(series, SizeIs(2));
  EXPECT_THAT(series[0].labels, ElementsAre("0", "backward", "client", "job-1"));
  EXPECT_EQ(series[0].value, 5);
  EXPECT_EQ(series[1].value, 7);
}

TEST(Metrics, HistogramBucketsAreCumulative) {
  Metrics metrics;
  Histogram seconds = metrics.Get(kStepSeconds, {"worker"});
  seconds.Observe(0.005);  // a bound belongs to its bucket
  seconds.Observe(0.3);
  seconds.Observe(1e9);
  const auto series = SeriesOf(metrics, "isthmus_step_seconds");
  ASSERT_THAT(series, SizeIs(1));
  EXPECT_EQ(series[0].buckets.front(), 1u);
  EXPECT_EQ(series[0].buckets[5], 1u);  // 0.25
  EXPECT_EQ(series[0].buckets[6], 2u);  // 0.5
  EXPECT_EQ(series[0].buckets[13], 2u);
  EXPECT_EQ(series[0].buckets.back(), 3u);
  EXPECT_DOUBLE_EQ(series[0].value, 1e9 + 0.305);
}

TEST(Metrics, SeriesOfAnEndedJobGoAfterAnHour) {
  FakeClock clock;
  Metrics metrics(&clock);
  Counter steps = metrics.Get(kStepsTotal, {"client", "job-1"});
  metrics.Get(kStepsTotal, {"client", "job-2"}).Add(1);
  metrics.JobEnded("job-1");
  clock.AdvanceUs(kKeepEndedJobUs - 1);
  EXPECT_THAT(SeriesOf(metrics, "isthmus_steps_total"), SizeIs(2));
  clock.AdvanceUs(1);
  const auto left = SeriesOf(metrics, "isthmus_steps_total");
  ASSERT_THAT(left, SizeIs(1));
  EXPECT_EQ(left[0].labels[1], "job-2");
  steps.Add(1);  // the handle still works
  EXPECT_EQ(steps.value(), 1);
}

TEST(Metrics, AJobThatComesBackKeepsItsSeries) {
  FakeClock clock;
  Metrics metrics(&clock);
  metrics.Get(kStepsTotal, {"worker", "job-1"}).Add(2);
  metrics.JobEnded("job-1");
  metrics.Get(kStepsTotal, {"worker", "job-1"}).Add(3);
  clock.AdvanceUs(2 * kKeepEndedJobUs);
  const auto series = SeriesOf(metrics, "isthmus_steps_total");
  ASSERT_THAT(series, SizeIs(1));
  EXPECT_EQ(series[0].value, 5);
}

TEST(Metrics, StrangersCannotGrowAFamily) {
  Metrics metrics;
  for (int i = 0; i < 3000; ++i) metrics.Get(kLoss, {std::to_string(i)}).Set(i);
  const auto series = SeriesOf(metrics, "isthmus_loss");
  EXPECT_THAT(series, SizeIs(1025));
  EXPECT_EQ(series.back().labels[0], "other");
}

TEST(Metrics, LabelValuesAreCutAndPrintable) {
  Metrics metrics;
  metrics.Get(kLoss, {std::string("a\nb\xff") + std::string(200, 'x')}).Set(1);
  const auto series = SeriesOf(metrics, "isthmus_loss");
  ASSERT_THAT(series, SizeIs(1));
  EXPECT_EQ(series[0].labels[0], "a_b_" + std::string(60, 'x'));
}

TEST(Metrics, ReplaceSetsTheWholeFamily) {
  Metrics metrics;
  metrics.Replace(kWorkers, {{{"ready"}, 2}, {{"busy"}, 1}});
  metrics.Replace(kWorkers, {{{"ready"}, 3}});
  const auto series = SeriesOf(metrics, "isthmus_workers");
  ASSERT_THAT(series, SizeIs(1));
  EXPECT_EQ(series[0].value, 3);
}

TEST(Metrics, ThreadsLoseNoCount) {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&metrics] {
      for (int i = 0; i < 2000; ++i) {
        metrics.Get(kStepsTotal, {"worker", "job-1"}).Add(1);
        if (i % 500 == 0) metrics.Snapshot();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(SeriesOf(metrics, "isthmus_steps_total")[0].value, 8000);
}

TEST(ProcessUsage, ReadsThisProcess) {
  const ProcessUsage usage = ReadProcessUsage();
  EXPECT_GT(usage.resident_bytes, 1 << 20);
  EXPECT_GT(usage.virtual_bytes, usage.resident_bytes);
  EXPECT_GT(usage.start_unix_seconds, 1.6e9);
  EXPECT_GE(usage.open_fds, 3);
  EXPECT_GE(usage.max_fds, usage.open_fds);
  EXPECT_GE(usage.cpu_seconds, 0);
}

}  // namespace
}  // namespace isthmus
