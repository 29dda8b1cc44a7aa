// isthmus train: a fine-tuning run from its job file.
#include <memory>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/dump_flags.h"
#include "cli/engine.h"
#include "cli/metrics_flag.h"
#include "cli/output.h"
#include "cli/security_flags.h"
#include "client/interrupt.h"
#include "client/job.h"
#include "client/progress.h"
#include "client/train.h"

namespace isthmus {
namespace {

absl::Status CheckFlags(const Invocation& in) {
  if (in.On("resume") && in.On("overwrite")) {
    return InvalidArgument("--resume, --overwrite: expected one of them, got both");
  }
  for (const char* flag : {"wait", "reconnect"}) {
    if (in.Given(flag) && !in.Given("coordinator"))
      return InvalidArgument("--", flag, ": expected --coordinator beside it, got none");
  }
  return absl::OkStatus();
}

// Flags win over the job's `security:`.
TlsFiles TlsFor(const Invocation& in, const Job& job) {
  const TlsFiles flags = TlsOf(in);
  const Job::Tls& tls = job.security.tls;
  return flags.enabled() ? flags : TlsFiles{tls.ca, tls.cert, tls.key};
}

TrainContext ContextOf(const Invocation& in, const Job& job, Engine* engine, Progress* progress) {
  TrainContext context;
  context.engine = engine;
  context.coordinator = in.Text("coordinator");
  context.wait_s = in.Number("wait");
  context.reconnect_s = in.Number("reconnect");
  context.resume = in.On("resume");
  context.overwrite = in.On("overwrite");
  context.threads = in.Integer("threads");
  context.device = in.Text("device");
  context.max_bytes = in.Integer("max-bytes");
  context.tls = TlsFor(in, job);
  context.insecure = in.On("insecure");
  context.progress = progress;
  context.signal = Interrupt::flag();
  return context;
}

absl::Status RunTrain(const Invocation& in) {
  ISTHMUS_RETURN_IF_ERROR(CheckFlags(in));
  ISTHMUS_ASSIGN_OR_RETURN(const Job job, ReadJob(in.arguments()[0], in.Texts("set")));
  if (in.Given("coordinator")) {
    ISTHMUS_RETURN_IF_ERROR(CheckAddressSecurity(in.Text("coordinator"), TlsFor(in, job),
                                                 in.On("insecure"), "--coordinator"));
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto exporter, StartMetrics(in, "client", TlsFor(in, job)));
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEngine(in));
  Progress progress(Progress::Choose(in.On("quiet")));
  TrainContext context = ContextOf(in, job, engine.get(), &progress);
  ISTHMUS_ASSIGN_OR_RETURN(context.dump, DumpOf(in));
  ISTHMUS_ASSIGN_OR_RETURN(const Report report, RunTraining(job, context));
  progress.Finish();
  Print(in.On("json") ? report.ToJson() : report.Summary());
  if (report.outcome != Report::Outcome::kInterrupted) return absl::OkStatus();
  return absl::CancelledError(absl::StrCat("train: expected all steps, got a stop after step ",
                                           report.steps, " (go on with --resume; ", job.output,
                                           ")"));
}

}  // namespace

CliCommand TrainCommand() {
  CliCommand command = {
      .name = "train",
      .arguments = "JOB.yaml",
      .least_arguments = 1,
      .most_arguments = 1,
      .summary = "fine-tunes a model as the job file says",
      .notes =
          "Without --coordinator: an embedded cluster of child processes on this machine.\n"
          "--dump-edges with --coordinator keeps what the client sends; each worker has its "
          "own --dump-edges.",
      .flags = {{.name = "set",
                 .value = "KEY=VALUE",
                 .help = "a key of the job file, with dots",
                 .repeated = true},
                CoordinatorFlag(false),
                {.name = "wait",
                 .kind = FlagKind::kSeconds,
                 .value = "TIME",
                 .help = "for enough ready workers",
                 .fallback = "60s"},
                {.name = "reconnect",
                 .kind = FlagKind::kSeconds,
                 .value = "TIME",
                 .help = "cluster or network lost, or this device slept: go on from the newest "
                         "checkpoint, until no step has finished "
                         "for that long",
                 .fallback = "0"},
                {.name = "resume",
                 .kind = FlagKind::kSwitch,
                 .help = "go on from the newest checkpoint of the output folder"},
                {.name = "overwrite",
                 .kind = FlagKind::kSwitch,
                 .help = "replace an earlier run in the output folder"},
                {.name = "max-bytes",
                 .kind = FlagKind::kBytes,
                 .value = "SIZE",
                 .help = "stop before a step that takes this client's traffic beyond (the last "
                         "checkpoint comes on top)",
                 .least = 1},
                MetricsFlag("off"),
                {.name = "quiet", .kind = FlagKind::kSwitch, .help = "no progress"},
                {.name = "json",
                 .kind = FlagKind::kSwitch,
                 .help = "report.json on standard output"}},
      .ends_orderly = true,
      .run = RunTrain};
  for (const auto& more : {ComputeFlags(), DumpFlags(), DialFlags()}) {
    command.flags.insert(command.flags.end(), more.begin(), more.end());
  }
  return command;
}

}  // namespace isthmus
