// isthmus status, jobs, workers, stop: questions to a coordinator.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/cluster_rows.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/security_flags.h"
#include "link/coordinator_client.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

void PrintJson(const Json& json) {
  Print(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

absl::Status RunWorkers(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string coordinator, CoordinatorOf(in));
  ISTHMUS_ASSIGN_OR_RETURN(const auto workers, ListWorkers(coordinator, TlsOf(in)));
  if (in.On("json")) {
    PrintJson({{"workers", ToJson(workers)}});
  } else {
    Print(TableOf(workers));
  }
  return absl::OkStatus();
}

absl::Status RunJobs(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string coordinator, CoordinatorOf(in));
  ISTHMUS_ASSIGN_OR_RETURN(const auto jobs, ListJobs(coordinator, TlsOf(in)));
  if (in.On("json")) {
    PrintJson({{"jobs", ToJson(jobs)}});
  } else {
    Print(TableOf(jobs));
  }
  return absl::OkStatus();
}

absl::Status RunStatus(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string coordinator, CoordinatorOf(in));
  ISTHMUS_ASSIGN_OR_RETURN(const auto workers, ListWorkers(coordinator, TlsOf(in)));
  ISTHMUS_ASSIGN_OR_RETURN(const auto jobs, ListJobs(coordinator, TlsOf(in)));
  if (in.On("json")) {
    PrintJson({{"coordinator", coordinator}, {"workers", ToJson(workers)}, {"jobs", ToJson(jobs)}});
  } else {
    Print(absl::StrCat("coordinator ", coordinator, "\n\n", TableOf(workers), "\n", TableOf(jobs)));
  }
  return absl::OkStatus();
}

absl::Status RunStop(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string coordinator, CoordinatorOf(in));
  const std::string asked = in.arguments().empty() ? "" : in.arguments()[0];
  ISTHMUS_ASSIGN_OR_RETURN(const std::string id, StopJob(coordinator, TlsOf(in), asked));
  if (in.On("json")) {
    PrintJson({{"id", id}});
  } else {
    Print(absl::StrCat("asked ", id, " to stop\n"));
  }
  return absl::OkStatus();
}

CliCommand Question(const std::string& name, const std::string& summary,
                    absl::Status (*run)(const Invocation&)) {
  CliCommand command = {
      .name = name,
      .summary = summary,
      .flags = {CoordinatorFlag(true),
                {.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}},
      .run = run};
  const std::vector<Flag> security = DialFlags();
  command.flags.insert(command.flags.end(), security.begin(), security.end());
  return command;
}

}  // namespace

CliCommand StatusCommand() {
  return Question("status", "workers and jobs of a coordinator", RunStatus);
}
CliCommand JobsCommand() { return Question("jobs", "its jobs", RunJobs); }
CliCommand WorkersCommand() { return Question("workers", "its workers", RunWorkers); }

CliCommand StopCommand() {
  CliCommand command =
      Question("stop", "ends a job, with a checkpoint (default: the only running one)", RunStop);
  command.arguments = "[ID]";
  command.most_arguments = 1;
  return command;
}

}  // namespace isthmus
