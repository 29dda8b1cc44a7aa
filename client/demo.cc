#include "client/demo.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/cut_model.h"
#include "client/plan_preview.h"
#include "client/progress.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kSampleSeed = 7;
constexpr double kSampleTemperature = 0.8;
constexpr char kEdgeLimit[] = "16MiB";  // of the on-device client

std::vector<std::string> Overrides(const DemoOptions& options, const std::string& codec,
                                   const std::string& folder) {
  std::vector<std::string> overrides = {
      absl::StrCat("link.rate_mbps=", options.link_mbps),
      absl::StrCat("output=", Json(absl::StrCat(options.out, "/", folder)).dump())};
  if (!codec.empty()) overrides.push_back(absl::StrCat("codec=", Json(codec).dump()));
  if (options.steps > 0) overrides.push_back(absl::StrCat("train.steps=", options.steps));
  return overrides;
}

absl::StatusOr<DemoRun> RunOnce(const Job& job, const std::string& title,
                                const TrainContext& context) {
  if (context.progress != nullptr) {
    context.progress->Finish();
    const std::string codec =
        job.codec.given() ? absl::StrCat(job.codec.forward, " / ", job.codec.backward) : "auto";
    context.progress->Note(absl::StrCat("demo: ", title, ": codec ", codec, " on ",
                                        job.link.rate_mbps, " Mbit/s links"));
  }
  DemoRun run;
  run.link_mbps = job.link.rate_mbps;
  if (job.edge.memory_limit_bytes > 0) {
    ISTHMUS_ASSIGN_OR_RETURN(const PlanPreview preview, PreviewPlan(job, {}, context.engine));
    run.edge = preview.client_memory.engine.text;
  }
  ISTHMUS_ASSIGN_OR_RETURN(run.report, RunTraining(job, context));
  if (run.report.outcome == Report::Outcome::kInterrupted) {
    return absl::CancelledError("demo: stopped");
  }
  // As chosen, where the job leaves it to the client.
  for (const WireRow& row : run.report.wire)
    (row.direction == Direction::kForward ? run.codec_forward : run.codec_backward) = row.codec;
  return run;
}

// The compressed job again, the client's part held in 8 bits within kEdgeLimit.
absl::StatusOr<DemoRun> RunOnDevice(const DemoOptions& options, const TrainContext& context) {
  std::vector<std::string> overrides = Overrides(options, options.codec, "edge");
  overrides.push_back(
      absl::StrCat("edge={weights: int8, update: auto, memory_limit: ", kEdgeLimit, "}"));
  ISTHMUS_ASSIGN_OR_RETURN(const Job job, ReadJob(options.job_path, overrides));
  TrainContext on_device = context;
  on_device.engine = options.edge_engine;
  on_device.worker_engine = EngineWord(*context.engine);
  return RunOnce(job, absl::StrCat("compressed, a client of ", kEdgeLimit), on_device);
}

absl::StatusOr<std::string> Sample(const Job& job, const Adapter* adapter,
                                   const DemoOptions& options, const TrainContext& context) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto directory, ModelDirectory::Open(job.model));
  ISTHMUS_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Open(job.model));
  CutModel::Options model_options;
  model_options.adapter = adapter;
  model_options.threads = context.threads;
  model_options.device = context.device;
  ISTHMUS_ASSIGN_OR_RETURN(const auto model, CutModel::Open(context.engine, directory->config(),
                                                            directory.get(), model_options));
  ISTHMUS_ASSIGN_OR_RETURN(const auto prompt, tokenizer->Encode(options.prompt));
  GenerateOptions generate;
  generate.max_new_tokens = options.sample_tokens;
  generate.max_positions = directory->config().max_positions;
  generate.eos_ids = directory->config().eos_ids;
  generate.sampler.temperature = kSampleTemperature;
  generate.sampler.seed = kSampleSeed;
  ISTHMUS_ASSIGN_OR_RETURN(const Generation generation,
                           Generate(model.get(), prompt, generate, [](int32_t) { return true; }));
  return tokenizer->Decode(generation.ids);
}

int64_t WireBytes(const Report& report) {
  int64_t bytes = 0;
  for (const WireRow& row : report.wire) bytes += row.wire_bytes();
  return bytes;
}

Json OrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

double PredictedSeconds(const Report& report) {
  return report.time.predicted_step_s * static_cast<double>(report.steps);
}

Json RunJson(const DemoRun& run) {
  const Report& report = run.report;
  return {{"codec", {{"forward", run.codec_forward}, {"backward", run.codec_backward}}},
          {"edge", run.edge.empty() ? Json(nullptr) : Json(run.edge)},
          {"link_mbps", run.link_mbps},
          {"wall_s", report.time.wall_s},
          {"predicted_s", PredictedSeconds(report)},
          {"tokens_per_s", report.tokens_per_s},
          {"wire_bytes", WireBytes(report)},
          {"bits_per_element_forward", BitsPerElementOf(report.wire, Direction::kForward)},
          {"bits_per_element_backward", BitsPerElementOf(report.wire, Direction::kBackward)},
          {"loss_before", OrNull(report.loss.eval_before)},
          {"loss_after", OrNull(report.loss.eval_after)}};
}

std::string Row(const DemoRun& run, double speedup) {
  const Report& report = run.report;
  return absl::StrFormat(
      "%-28s %7.1f %9.1f %9.2f %8.2f / %-6.2f %8.3f %8.3f %10.0f %8.1fx\n",
      absl::StrCat(run.codec_forward, " / ", run.codec_backward, run.edge.empty() ? "" : ", edge"),
      report.time.wall_s, PredictedSeconds(report), static_cast<double>(WireBytes(report)) * 1e-6,
      BitsPerElementOf(report.wire, Direction::kForward),
      BitsPerElementOf(report.wire, Direction::kBackward), report.loss.eval_before.value_or(0.0),
      report.loss.eval_after.value_or(0.0), report.tokens_per_s, speedup);
}

std::string Indented(const std::string& text) {
  std::string out = "  ";
  for (const char c : absl::StripAsciiWhitespace(text)) {
    out.push_back(c);
    if (c == '\n') out += "  ";
  }
  return out + "\n";
}

}  // namespace

double DemoResult::speedup() const {
  const double compressed_s = runs[1].report.time.wall_s;
  return compressed_s > 0.0 ? runs[0].report.time.wall_s / compressed_s : 0.0;
}

std::string DemoResult::ToJson() const {
  Json rows = Json::array();
  for (const DemoRun& run : runs) rows.push_back(RunJson(run));
  const Json json = {{"runs", std::move(rows)},
                     {"speedup", speedup()},
                     {"samples", {{"before", sample_before}, {"after", sample_after}}}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string DemoResult::Table() const {
  std::string text = absl::StrFormat(
      "%d steps over links of %g Mbit/s, client and two workers\n\n%-28s %7s %9s %9s %17s %8s %8s "
      "%10s "
      "%9s\n",
      runs.front().report.steps, runs.front().link_mbps, "codec forward / backward", "time s",
      "predicted", "wire MB", "bits/element f/b", "loss", "after", "tokens/s", "speed-up");
  for (const DemoRun& run : runs) {
    const double first_s = runs.front().report.time.wall_s;
    text += Row(run, run.report.time.wall_s > 0.0 ? first_s / run.report.time.wall_s : 0.0);
  }
  for (const DemoRun& run : runs) {
    if (!run.edge.empty()) absl::StrAppend(&text, "\n", run.edge, "\n");
  }
  return absl::StrCat(text, "\nbefore:\n", Indented(sample_before), "\nafter, compressed:\n",
                      Indented(sample_after));
}

absl::StatusOr<DemoResult> RunDemo(const DemoOptions& options, const TrainContext& context) {
  ISTHMUS_ASSIGN_OR_RETURN(const Job raw,
                           ReadJob(options.job_path, Overrides(options, "none", "uncompressed")));
  ISTHMUS_ASSIGN_OR_RETURN(
      const Job packed, ReadJob(options.job_path, Overrides(options, options.codec, "compressed")));
  ISTHMUS_RETURN_IF_ERROR(RunOutput::Check(packed.output, OutputMode::kNew));
  DemoResult result;
  ISTHMUS_ASSIGN_OR_RETURN(result.sample_before, Sample(raw, nullptr, options, context));
  ISTHMUS_ASSIGN_OR_RETURN(DemoRun first, RunOnce(raw, "uncompressed", context));
  ISTHMUS_ASSIGN_OR_RETURN(DemoRun second, RunOnce(packed, "compressed", context));
  result.runs = {std::move(first), std::move(second)};
  if (options.edge_engine != nullptr) {
    ISTHMUS_ASSIGN_OR_RETURN(DemoRun third, RunOnDevice(options, context));
    result.runs.push_back(std::move(third));
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto directory, ModelDirectory::Open(packed.model));
  ISTHMUS_ASSIGN_OR_RETURN(
      const Adapter adapter,
      ReadAdapter(absl::StrCat(packed.output, "/adapter"), directory->config()));
  ISTHMUS_ASSIGN_OR_RETURN(result.sample_after, Sample(packed, &adapter, options, context));
  return result;
}

}  // namespace isthmus
