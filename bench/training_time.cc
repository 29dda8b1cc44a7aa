#include "bench/training_time.h"

#include <cmath>
#include <vector>

#include "base/status.h"
#include "pipeline/plan.h"
#include "pipeline/simulator.h"

namespace isthmus::bench {
namespace {

// Mean bytes of a micro-batch's frames.
absl::StatusOr<std::vector<EdgeCost>> EdgesOf(const v1::Plan& plan, const nlohmann::json& row) {
  const double frames = row.value("steps", 0.0) * row.value("micro_batches", 0.0);
  const auto rows = row.find("edges");
  if (frames < 1 || rows == row.end())
    return InvalidArgument("time: expected a row with steps, micro_batches and edges");
  std::vector<EdgeCost> edges(static_cast<size_t>(plan.edges_size()));
  for (const nlohmann::json& edge : *rows) {
    const auto index = edge.value("edge", edges.size());
    if (index >= edges.size()) continue;
    const auto bytes = std::llround(edge.value("wire_bytes", 0.0) / frames);
    (edge.value("direction", "") == "forward" ? edges[index].forward_bytes
                                              : edges[index].backward_bytes) = bytes;
  }
  return edges;
}

}  // namespace

absl::StatusOr<double> SimulatedStepSeconds(const v1::Plan& plan, const nlohmann::json& row,
                                            double unshaped_step_s, double rate_mbps,
                                            uint32_t cores) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<EdgeCost> edges, EdgesOf(plan, row));
  ISTHMUS_ASSIGN_OR_RETURN(const Schedule schedule,
                           ScheduleOf(plan, static_cast<uint32_t>(plan.micro_batches()), false));
  std::vector<StageCost> stages;
  for (const v1::StageSpec& stage : plan.stages())
    stages.push_back({stage.predicted_forward_s(), stage.predicted_backward_s()});
  std::vector<HostLink> links(static_cast<size_t>(plan.parties_size()));
  const double planned_s = SimulateStep(schedule, stages, edges, links, 0.0, cores).step_s;
  for (StageCost& stage : stages) {
    stage.forward_s *= unshaped_step_s / planned_s;
    stage.backward_s *= unshaped_step_s / planned_s;
  }
  for (HostLink& link : links) link.rate_mbps = rate_mbps;
  return SimulateStep(schedule, stages, edges, links, 0.0, cores).step_s;
}

}  // namespace isthmus::bench
