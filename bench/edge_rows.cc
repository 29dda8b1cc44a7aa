#include "bench/edge_rows.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "bench/process.h"

namespace isthmus::bench {
namespace {

constexpr int kRounds = 5;
constexpr const char* kWeights[] = {"f32", "int8", "int4g64"};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One row's measurements, a round after the other.
struct Row {
  std::string program, weights;
  std::vector<double> step_s, rss_bytes;
};

absl::Status Measure(const std::string& programs, Row* row) {
  std::vector<std::string> command = {absl::StrCat(programs, "/", row->program), "--steps", "6"};
  if (!row->weights.empty()) command.insert(command.end(), {"--weights", row->weights});
  ISTHMUS_ASSIGN_OR_RETURN(const nlohmann::json step, RunJson(command));
  row->step_s.push_back(step.value("step_s", 0.0));
  row->rss_bytes.push_back(step.value("peak_rss_bytes", 0.0));
  return absl::OkStatus();
}

std::vector<double> Ratios(const std::vector<double>& values, const std::vector<double>& others) {
  std::vector<double> ratios;
  for (size_t round = 0; round < values.size(); ++round)
    ratios.push_back(values[round] / others[round]);
  return ratios;
}

}  // namespace

absl::StatusOr<nlohmann::json> RunEdgeSteps(const std::string& programs) {
  std::vector<Row> rows = {{"isthmus_step_torch", "", {}, {}}};
  for (const char* weights : kWeights) rows.push_back({"isthmus_step_edge", weights, {}, {}});
  for (int round = 0; round < kRounds; ++round) {
    for (Row& row : rows) ISTHMUS_RETURN_IF_ERROR(Measure(programs, &row));
  }
  nlohmann::json table = nlohmann::json::array();
  for (const Row& row : rows) {
    table.push_back({{"engine", row.weights.empty() ? "LibTorch" : "edge"},
                     {"weights", row.weights.empty() ? "fp32" : row.weights},
                     {"step_s", Median(row.step_s)},
                     {"peak_rss_bytes", Median(row.rss_bytes)},
                     {"step_over_torch", Median(Ratios(row.step_s, rows[0].step_s))},
                     {"rss_over_torch", Median(Ratios(row.rss_bytes, rows[0].rss_bytes))}});
  }
  return table;
}

}  // namespace isthmus::bench
