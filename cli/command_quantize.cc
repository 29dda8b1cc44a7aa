// isthmus quantize: a model's matrices in a low-bit format, for the on-device engine.
#include <algorithm>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/engine.h"
#include "cli/output.h"
#include "client/progress.h"
#include "engine/edge/calibration.h"
#include "engine/edge/packed_model.h"
#include "kernels/weight_format.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

// Windows as the model would be trained on, no longer than this: what a map reads changes little
// behind.
constexpr int64_t kLongestWindow = 2048;

absl::StatusOr<std::vector<Window>> ReadCalibration(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto model,
                           ModelDirectory::Open(in.Text("model"), /*weights=*/false));
  DatasetOptions options;
  options.vocab_size = model->config().vocab_size;
  options.sequence_length = std::min(kLongestWindow, model->config().max_positions);
  const auto tokenizer = Tokenizer::Open(in.Text("model"));
  if (!tokenizer.ok() && !absl::IsNotFound(tokenizer.status())) return tokenizer.status();
  const Tokenizer* const own = tokenizer.ok() ? tokenizer->get() : nullptr;
  ISTHMUS_ASSIGN_OR_RETURN(const auto documents,
                           ReadDocuments(in.Text("calibration"), own, options));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Window> windows, CutWindows(documents, options));
  return SpreadWindows(windows, in.Integer("calibration-positions"));
}

int Threads(const Invocation& in) {
  const int64_t threads = in.Integer("threads");
  return static_cast<int>(
      std::max<int64_t>(1, threads > 0 ? threads : std::thread::hardware_concurrency()));
}

std::string ForPeople(const std::vector<CalibratedMatrix>& matrices) {
  std::vector<std::vector<std::string>> rows = {
      {"matrix", "to nearest", "calibrated", "of nearest"}};
  for (const CalibratedMatrix& matrix : matrices) {
    const double share = matrix.nearest_error > 0.0 ? matrix.error / matrix.nearest_error : 1.0;
    rows.push_back({matrix.name, absl::StrFormat("%.3e", matrix.nearest_error),
                    absl::StrFormat("%.3e", matrix.error), absl::StrFormat("%.3f", share)});
  }
  return absl::StrCat("squared error of each matrix's output, relative to the output\n",
                      Table(rows));
}

std::string ToJson(const std::vector<CalibratedMatrix>& matrices, int64_t positions) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const CalibratedMatrix& matrix : matrices) {
    list.push_back({{"name", matrix.name},
                    {"nearest_error", matrix.nearest_error},
                    {"calibrated_error", matrix.error}});
  }
  const nlohmann::ordered_json json = {{"calibration_positions", positions}, {"matrices", list}};
  return json.dump() + "\n";
}

absl::Status Calibrate(const Invocation& in, const WeightFormatSpec& spec) {
  CalibrationOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.windows, ReadCalibration(in));
  options.threads = Threads(in);
  Progress progress(Progress::Choose(in.On("quiet")));
  options.progress = [&](int64_t done, int64_t total) {
    progress.ShowCount("quantize: block", done, total);
  };
  ISTHMUS_ASSIGN_OR_RETURN(
      const std::vector<CalibratedMatrix> matrices,
      QuantizeModelCalibrated(in.Text("model"), in.Text("out"), spec, options));
  progress.Finish();
  int64_t positions = 0;
  for (const Window& window : options.windows) positions += window.inputs.size();
  Print(in.On("json") ? ToJson(matrices, positions) : ForPeople(matrices));
  return absl::OkStatus();
}

absl::Status RunQuantize(const Invocation& in) {
  const absl::StatusOr<WeightFormatSpec> spec = ParseWeightFormat(in.Text("format"));
  if (!spec.ok()) return Annotate(spec.status(), "--format");
  if (in.Given("calibration")) return Calibrate(in, *spec);
  for (const char* flag : {"calibration-positions", "json", "quiet", "threads"}) {
    if (in.Given(flag)) {
      return InvalidArgument("--", flag, ": expected --calibration FILE beside it, got none");
    }
  }
  return QuantizeModel(in.Text("model"), in.Text("out"), *spec);
}

}  // namespace

CliCommand QuantizeCommand() {
  return {.name = "quantize",
          .summary = "a model's matrices in a low-bit format, for the on-device engine",
          .notes =
              "Rounds to nearest; with --calibration, rounding errors are fed back by what the "
              "matrices read on that text (GPTQ), and the errors of their outputs are printed. "
              "Embedding and head keep 8 bits at least; groups are 32, 64 or 128 inputs.",
          .flags = {{.name = "model", .value = "DIR", .help = "the model", .required = true},
                    {.name = "out", .value = "DIR", .help = "folder to make", .required = true},
                    {.name = "format",
                     .value = "FORMAT",
                     .help = "bf16, int8, int8gN, int4gN, progressive4gN, nf4gN, fp8 or fp4gN",
                     .required = true},
                    {.name = "calibration",
                     .value = "FILE",
                     .help = "text like the model's own, .jsonl or .txt; formats of 8 and 4 bits"},
                    {.name = "calibration-positions",
                     .kind = FlagKind::kInteger,
                     .value = "N",
                     .help = "the most positions of it, from all over the file",
                     .fallback = "32768",
                     .least = 1},
                    ThreadsFlag(),
                    {.name = "quiet", .kind = FlagKind::kSwitch, .help = "no progress"},
                    {.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}},
          .run = RunQuantize};
}

}  // namespace isthmus
