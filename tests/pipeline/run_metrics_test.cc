#include "pipeline/run_metrics.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace isthmus {
namespace {

// Values of the series of one job, by metric.
std::map<std::string, double> SeriesOf(const std::string& job) {
  std::map<std::string, double> values;
  for (const FamilySnapshot& family : Metrics::Global().Snapshot())
    for (const SeriesSnapshot& series : family.series)
      if (!series.labels.empty() && series.labels.back() == job)
        values[std::string(family.info->name)] = series.value;
  return values;
}

TEST(RunMetricsTest, AnEdgesReportSetsEveryMetricOfTheEdge) {
  RunMetrics metrics("worker", "job-edges", 1);
  StageRunner::EdgeReport report;
  report.edge = 2;
  report.direction = Direction::kBackward;
  report.use.elements = 1000;
  report.use.frames = 4;
  report.use.payload_bytes = 500;
  report.use.side_bytes = 50;
  report.use.header_bytes = 75;
  report.use.key_frames = 3;
  metrics.CountEdges({report});
  const std::map<std::string, double> want = {
      {"isthmus_wire_bytes_total", 625}, {"isthmus_wire_elements_total", 1000},
      {"isthmus_frames_total", 4},       {"isthmus_key_frames_total", 3},
      {"isthmus_element_bitwidth", 5.0}, {"isthmus_payload_bitwidth", 4.0}};
  EXPECT_EQ(SeriesOf("job-edges"), want);

  // Widths are those of training: an evaluation may send something else.
  report.traffic = Traffic::kUncompressedEvaluation;
  report.use.payload_bytes = 4000;
  metrics.CountEdges({report});
  EXPECT_EQ(SeriesOf("job-edges")["isthmus_payload_bitwidth"], 4.0);
  EXPECT_EQ(SeriesOf("job-edges")["isthmus_frames_total"], 8);
}

}  // namespace
}  // namespace isthmus
