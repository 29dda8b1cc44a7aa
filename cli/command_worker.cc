// isthmus worker: joins a coordinator and computes stages until it is told to end.
#include <csignal>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/dump_flags.h"
#include "cli/engine.h"
#include "cli/metrics_flag.h"
#include "cli/security_flags.h"
#include "client/cluster_child.h"
#include "client/interrupt.h"
#include "client/report.h"
#include "worker/worker.h"

namespace isthmus {
namespace {

WorkerOptions OptionsOf(const Invocation& in) {
  WorkerOptions options;
  options.coordinator = in.Text("coordinator");
  options.listen = in.Text("listen");
  options.advertise = in.Text("advertise");
  options.name = in.Text("name");
  options.state_dir = in.Text("state");
  options.started_by_client = StartedByClient();
  options.weights.model_root = in.Text("model-root");
  options.weights.cache_dir = options.state_dir.empty() ? "" : options.state_dir + "/cache";
  options.weights.cache_limit_bytes = in.Integer("cache-limit");
  options.memory_limit_bytes = in.Integer("memory-limit");
  options.threads = in.Integer("threads");
  options.device = in.Text("device");
  options.tls = TlsOf(in);
  options.insecure = in.On("insecure");
  options.version = std::string(IsthmusVersion());
  options.emulated_rate_mbps = in.Number("link-mbps");
  options.emulated_delay_ms = in.Number("link-delay-ms");
  return options;
}

absl::Status RunWorkerCommand(const Invocation& in) {
  WorkerOptions options = OptionsOf(in);
  ISTHMUS_ASSIGN_OR_RETURN(options.dump, DumpOf(in));
  ISTHMUS_ASSIGN_OR_RETURN(const auto exporter, StartMetrics(in, "worker", TlsOf(in)));
  if (exporter != nullptr) {
    const std::string asked = in.Text("metrics");
    options.metrics = absl::StrCat(asked.substr(0, asked.rfind(':')), ":", exporter->port());
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEngine(in, in.Text("kv-cache")));
  const auto ready = [](int port) { ReportReady({.grpc = port, .http = 0}); };
  ISTHMUS_RETURN_IF_ERROR(
      RunWorker(options, engine.get(), ready, Interrupt::Wait, Interrupt::Again));
  if (Interrupt::Signal() == SIGINT) return absl::CancelledError("worker: stopped");
  return absl::OkStatus();
}

}  // namespace

CliCommand WorkerCommand() {
  CliCommand command = {
      .name = "worker",
      .summary = "computes stages of the model for clients",
      .flags = {CoordinatorFlag(true),
                {.name = "listen",
                 .value = "HOST:PORT",
                 .help = "where clients and other workers dial",
                 .fallback = "127.0.0.1:7601"},
                {.name = "advertise",
                 .value = "HOST:PORT",
                 .help = "how others reach it (default: --listen)"},
                MetricsFlag("127.0.0.1:9464"),
                {.name = "name", .value = "NAME", .help = "for people (default: host and port)"},
                {.name = "model-root",
                 .value = "DIR",
                 .help = "folder of models; what is not there comes from the client"},
                {.name = "state",
                 .value = "DIR",
                 .help = "codec state and weight cache (default: nothing is kept)"},
                {.name = "cache-limit",
                 .kind = FlagKind::kBytes,
                 .value = "SIZE",
                 .help = "of the weight cache",
                 .fallback = "20GiB"},
                {.name = "memory-limit",
                 .kind = FlagKind::kBytes,
                 .value = "SIZE",
                 .help = "plans stay below it, 0: none",
                 .fallback = "0"},
                KvCacheFlag(),
                {.name = "link-mbps",
                 .kind = FlagKind::kNumber,
                 .value = "N",
                 .help = "emulate a link of this rate, 0: none",
                 .fallback = "0"},
                {.name = "link-delay-ms",
                 .kind = FlagKind::kNumber,
                 .value = "N",
                 .help = "emulate this delay",
                 .fallback = "0"}},
      .ends_orderly = true,
      .run = RunWorkerCommand};
  for (const auto& more : {ComputeFlags(), DumpFlags(), DialFlags()}) {
    command.flags.insert(command.flags.end(), more.begin(), more.end());
  }
  return command;
}

}  // namespace isthmus
