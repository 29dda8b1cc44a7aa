// isthmus plan: how a job would be placed; runs nothing.
#include "base/status.h"
#include "cli/cluster_file.h"
#include "cli/commands.h"
#include "cli/engine.h"
#include "cli/output.h"
#include "client/job.h"
#include "client/plan_preview.h"

namespace isthmus {
namespace {

absl::Status RunPlan(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const Job job, ReadJob(in.arguments()[0], in.Texts("set")));
  std::vector<v1::WorkerInfo> workers;
  if (in.Given("cluster")) {
    ISTHMUS_ASSIGN_OR_RETURN(workers, ReadClusterFile(in.Text("cluster")));
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEngine(in));
  ISTHMUS_ASSIGN_OR_RETURN(const PlanPreview preview, PreviewPlan(job, workers, engine.get()));
  Print(in.On("json") ? preview.ToJson() : preview.Table());
  return absl::OkStatus();
}

}  // namespace

CliCommand PlanCommand() {
  CliCommand command = {
      .name = "plan",
      .arguments = "JOB.yaml",
      .least_arguments = 1,
      .most_arguments = 1,
      .summary = "placement, step time, bytes and memory of a job; runs nothing",
      .flags = {{.name = "set",
                 .value = "KEY=VALUE",
                 .help = "a key of the job file, with dots",
                 .repeated = true},
                {.name = "cluster",
                 .value = "FILE",
                 .help = "YAML list of workers (default: the embedded cluster)"},
                {.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}},
      .run = RunPlan};
  const std::vector<Flag> compute = ComputeFlags();
  command.flags.insert(command.flags.end(), compute.begin(), compute.end());
  return command;
}

}  // namespace isthmus
