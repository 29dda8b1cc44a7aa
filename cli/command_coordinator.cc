// isthmus coordinator: serves until SIGTERM or SIGINT, drains, ends.
#include <csignal>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/security_flags.h"
#include "client/cluster_child.h"
#include "client/interrupt.h"
#include "client/report.h"
#include "coordinator/coordinator.h"
#include "pipeline/partitioner.h"

namespace isthmus {
namespace {

CoordinatorOptions OptionsOf(const Invocation& in) {
  CoordinatorOptions options;
  options.listen = in.Text("listen");
  options.http = in.Text("http");
  options.state_dir = in.Text("state");
  options.tls = TlsOf(in);
  options.insecure = in.On("insecure");
  options.version = std::string(IsthmusVersion());
  return options;
}

absl::Status RunCoordinatorCommand(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Start(OptionsOf(in), MakePlan));
  ReportReady({coordinator->grpc_port(), coordinator->http_port()});
  Interrupt::Wait();
  const bool asked_by_terminal = Interrupt::Signal() == SIGINT;
  coordinator->Drain();
  coordinator->WaitUntilDrained();
  return asked_by_terminal ? absl::CancelledError("coordinator: stopped") : absl::OkStatus();
}

}  // namespace

CliCommand CoordinatorCommand() {
  CliCommand command = {.name = "coordinator",
                        .summary = "schedules jobs on workers; no data passes through it",
                        .flags = {{.name = "listen",
                                   .value = "HOST:PORT",
                                   .help = "gRPC: workers and clients",
                                   .fallback = "127.0.0.1:7600"},
                                  {.name = "http",
                                   .value = "HOST:PORT",
                                   .help = "status page, JSON, metrics",
                                   .fallback = "127.0.0.1:7680"},
                                  {.name = "state",
                                   .value = "DIR",
                                   .help = "where jobs are remembered (default: nowhere)"}},
                        .ends_orderly = true,
                        .run = RunCoordinatorCommand};
  const std::vector<Flag> security = SecurityFlags();
  command.flags.insert(command.flags.end(), security.begin(), security.end());
  return command;
}

}  // namespace isthmus
