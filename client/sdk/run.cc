// isthmus_run: one training run of a caller's process.
#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "client/job.h"
#include "client/sdk/batch.h"
#include "client/sdk/call.h"
#include "client/train.h"
#include "engine/edge/engine.h"

struct isthmus_run {
  isthmus_run_options options;
  isthmus::Job job;
  isthmus::TrainContext context;  // texts of its own
  std::optional<isthmus::CallbackData> data;
  std::atomic<int> stop = 0;
  bool started = false;
  std::string report;
};

namespace isthmus {
namespace {

absl::Status CheckOptions(const isthmus_run_options& options) {
  if (options.coordinator == nullptr)
    return InvalidArgument("coordinator: expected HOST:PORT, got none");
  if (options.resume != 0 && options.overwrite != 0)
    return InvalidArgument("resume, overwrite: expected one of them, got both");
  if (options.evaluation != nullptr && options.batches == nullptr)
    return InvalidArgument("evaluation: expected batches beside it, got none");
  if (options.num_settings > 0 && options.settings == nullptr)
    return InvalidArgument("settings: expected ", options.num_settings, " texts, got none");
  if (options.wait_s < 0 || options.reconnect_s < 0 || options.threads < 0 ||
      options.max_bytes < 0 || options.num_samples < 0)
    return InvalidArgument(
        "wait_s, reconnect_s, threads, max_bytes, num_samples: expected numbers from 0, got a "
        "negative one");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SettingsOf(const isthmus_run_options& options) {
  std::vector<std::string> settings;
  for (size_t i = 0; i < options.num_settings; ++i) {
    ISTHMUS_RETURN_IF_ERROR(NotNull(options.settings[i]));
    settings.emplace_back(options.settings[i]);
  }
  return settings;
}

void Report(const isthmus_run_options& options, const Progress::Step& step) {
  const isthmus_progress progress = {sizeof(isthmus_progress),
                                     step.step,
                                     step.total_steps,
                                     step.loss,
                                     step.tokens_per_s,
                                     step.bits_per_element_forward,
                                     step.bits_per_element_backward};
  options.progress(options.user, &progress);
}

absl::Status FillContext(isthmus_run* run) {
  const isthmus_run_options& options = run->options;
  TrainContext& context = run->context;
  context.coordinator = options.coordinator;
  if (options.wait_s > 0) context.wait_s = options.wait_s;
  context.reconnect_s = options.reconnect_s;
  context.resume = options.resume != 0;
  context.overwrite = options.overwrite != 0;
  context.threads = options.threads;
  context.max_bytes = options.max_bytes;
  context.insecure = options.insecure != 0;
  context.signal = &run->stop;
  ISTHMUS_ASSIGN_OR_RETURN(context.tls, TlsOf(options));
  if (options.batches != nullptr) {
    run->data.emplace(options.batches, options.evaluation, options.user, options.num_samples);
    context.own_data = &*run->data;
  }
  if (options.progress != nullptr)
    context.on_step = [run](const Progress::Step& step) { Report(run->options, step); };
  if (options.note != nullptr)
    context.on_note = [run](absl::string_view line) {
      run->options.note(run->options.user, std::string(line).c_str());
    };
  return absl::OkStatus();
}

absl::Status Make(const char* job_yaml, const isthmus_run_options* given, isthmus_run** made) {
  ISTHMUS_RETURN_IF_ERROR(NotNull(job_yaml, made));
  auto run = std::make_unique<isthmus_run>();
  ISTHMUS_ASSIGN_OR_RETURN(run->options, Known(given));
  ISTHMUS_RETURN_IF_ERROR(CheckOptions(run->options));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<std::string> settings, SettingsOf(run->options));
  ISTHMUS_ASSIGN_OR_RETURN(run->job,
                           ParseJob(job_yaml, TextOr(run->options.directory, "."), settings));
  ISTHMUS_RETURN_IF_ERROR(FillContext(run.get()));
  // What the caller's memory held is copied by now.
  run->options.settings = nullptr;
  run->options.coordinator = run->options.directory = nullptr;
  *made = run.release();
  return absl::OkStatus();
}

absl::Status Train(isthmus_run* run) {
  ISTHMUS_RETURN_IF_ERROR(NotNull(run));
  if (std::exchange(run->started, true))
    return absl::FailedPreconditionError("expected a run that has not begun, got one that has");
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEdgeEngine(run->context.threads));
  run->context.engine = engine.get();
  absl::StatusOr<isthmus::Report> report = RunTraining(run->job, run->context);
  run->context.engine = nullptr;
  if (!report.ok()) return report.status();
  run->report = report->ToJson();
  if (report->outcome != isthmus::Report::Outcome::kInterrupted) return absl::OkStatus();
  return absl::CancelledError(absl::StrCat("expected all steps, got a stop after step ",
                                           report->steps, " (go on with resume; ", run->job.output,
                                           ")"));
}

}  // namespace
}  // namespace isthmus

isthmus_status isthmus_run_new(const char* job_yaml, const isthmus_run_options* options,
                               isthmus_run** run) {
  return isthmus::Call("isthmus_run_new", [&] { return isthmus::Make(job_yaml, options, run); });
}

isthmus_status isthmus_run_train(isthmus_run* run) {
  return isthmus::Call("isthmus_run_train", [&] { return isthmus::Train(run); });
}

void isthmus_run_stop(isthmus_run* run) {
  if (run != nullptr) run->stop.store(SIGINT);
}

const char* isthmus_run_report(const isthmus_run* run) {
  return run == nullptr ? "" : run->report.c_str();
}

void isthmus_run_free(isthmus_run* run) { delete run; }
