// isthmus eval: the loss of a model on a file, whole or through cuts.
#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/engine.h"
#include "cli/local_model.h"
#include "cli/output.h"
#include "client/evaluate.h"
#include "client/interrupt.h"
#include "client/progress.h"

namespace isthmus {
namespace {

struct Text {
  int64_t num_documents = 0;
  std::vector<Window> windows;
};

absl::StatusOr<Text> ReadText(const Invocation& in, const LocalModel& model) {
  DatasetOptions options;
  options.vocab_size = model.config().vocab_size;
  options.sequence_length =
      in.Given("sequence-length") ? in.Integer("sequence-length") : model.config().max_positions;
  if (options.sequence_length > model.config().max_positions) {
    return InvalidArgument("--sequence-length: expected at most ", model.config().max_positions,
                           " (the model's context), got ", options.sequence_length);
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto documents,
                           ReadDocuments(in.Text("data"), model.tokenizer.get(), options));
  Text text;
  text.num_documents = static_cast<int64_t>(documents.size());
  ISTHMUS_ASSIGN_OR_RETURN(text.windows, CutWindows(documents, options));
  return text;
}

int64_t Longest(const std::vector<Window>& windows) {
  size_t longest = 0;
  for (const Window& window : windows) longest = std::max(longest, window.inputs.size());
  return static_cast<int64_t>(longest);
}

std::string ForPeople(const Evaluation& evaluation) {
  const DocumentLoss sum = evaluation.total();
  const double loss = sum.loss_sum / static_cast<double>(sum.tokens);
  std::string text =
      absl::StrFormat("loss %.5f  perplexity %.3f  %d predicted tokens in %d documents\n", loss,
                      std::exp(loss), sum.tokens, evaluation.documents.size());
  for (const CutUse& cut : evaluation.cuts) {
    absl::StrAppendFormat(&text, "cut after %d  %s  %.3f bits/element  %d bytes\n", cut.after,
                          cut.codec, BitsPerElement(cut.wire_bytes, cut.elements), cut.wire_bytes);
  }
  return text;
}

absl::Status RunEval(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEngine(in));
  ISTHMUS_ASSIGN_OR_RETURN(LocalModel model, OpenLocalModel(in, engine.get()));
  ISTHMUS_ASSIGN_OR_RETURN(const Text text, ReadText(in, model));
  ISTHMUS_ASSIGN_OR_RETURN(CutModel::Options options, CutOptions(in, model));
  options.num_samples = static_cast<int64_t>(text.windows.size());
  options.max_sample_tokens = Longest(text.windows);
  ISTHMUS_ASSIGN_OR_RETURN(const auto cut_model, CutModel::Open(engine.get(), model.config(),
                                                                model.directory.get(), options));
  Progress progress(Progress::Choose(in.On("quiet")));
  const int64_t total = static_cast<int64_t>(text.windows.size());
  const auto show = [&](int64_t done) {
    progress.ShowCount("eval: window", done, total);
    return Interrupt::Signal() == 0;
  };
  ISTHMUS_ASSIGN_OR_RETURN(const Evaluation evaluation,
                           Evaluate(cut_model.get(), text.windows, text.num_documents, show));
  progress.Finish();
  Print(in.On("json") ? evaluation.ToJson() : ForPeople(evaluation));
  return absl::OkStatus();
}

}  // namespace

CliCommand EvalCommand() {
  CliCommand command = {.name = "eval",
                        .summary = "loss of a model on a file, whole or cut",
                        .flags = LocalModelFlags(),
                        .ends_orderly = true,
                        .run = RunEval};
  const std::vector<Flag> own = {
      {.name = "data", .value = "FILE", .help = ".jsonl or .txt", .required = true},
      {.name = "sequence-length",
       .kind = FlagKind::kInteger,
       .value = "N",
       .help = "input positions of a window (default: the model's context)",
       .least = 1},
      {.name = "quiet", .kind = FlagKind::kSwitch, .help = "no progress"},
      {.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}};
  command.flags.insert(command.flags.end(), own.begin(), own.end());
  return command;
}

}  // namespace isthmus
