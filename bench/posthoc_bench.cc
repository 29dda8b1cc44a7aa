// Loss against true bits: a trained model is cut in two, what crosses the cut goes through a codec
// from a cold start, and the loss is compared with the uncut model's.
//
//   isthmus_posthoc_bench --shared DIR --results FILE [--model NAME]…
//                        [--text NAME]… [--tokens N]
//
// Every model, text and cut; of every codec family those rates that lie around the losses of
// interest. Rows already in FILE are not measured again. The corridor is that of `isthmus eval
// --cut-after K --codec SPEC` (one window of 128 tokens a frame, state advancing as in a first
// epoch, frame headers counted), but what is below the cut is computed once for all codecs; one row
// of every model and text is also computed by CutModel itself and must be equal.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "bench/codec_families.h"
#include "bench/posthoc_texts.h"
#include "bench/result_file.h"
#include "client/cut_model.h"
#include "client/evaluate.h"
#include "engine/torch/engine.h"
#include "engine/torch/environment.h"
#include "model/dataset.h"
#include "model/tokenizer.h"
#include "model/weights.h"

namespace isthmus::bench {
namespace {

constexpr int64_t kSequenceLength = 128;
// A family is followed to rates that add less than the first and more than the second, in nats.
constexpr double kLeastAdded = 0.01, kMostAdded = 0.1;
constexpr char kCheckedCodec[] = "int(bits=4,group=tile,n=64)";

struct Options {
  std::string shared, results;
  std::vector<std::string> models, texts;  // empty: all
  int64_t tokens = 0;                      // 0: the model's default
};

struct Reading {
  std::string model, text;
  int64_t tokens = 0;  // input positions asked for
  const ModelConfig* config = nullptr;
  WeightSource* weights = nullptr;
  std::vector<Window> windows;
};

struct Loss {
  double mean = 0.0, bits = 0.0;
};

MicroBatch BatchOf(const Window& window, uint64_t step) {
  MicroBatch mb;
  mb.step = step;
  mb.samples = {window.sample};
  mb.lengths = {static_cast<int32_t>(window.inputs.size())};
  mb.ids = window.inputs;
  mb.targets = window.targets;
  return mb;
}

// The two halves of a model, and what the lower one says of every window.
class CutReading {
 public:
  static absl::StatusOr<CutReading> Make(Engine* engine, const Reading& reading, int64_t cut) {
    CutReading made;
    made.reading_ = &reading;
    TrainSpec spec;
    spec.frozen = true;
    spec.threads = 1;
    const std::vector<LayerRange> ranges = {{0, cut, true, false},
                                            {cut, reading.config->num_layers, false, true}};
    ISTHMUS_ASSIGN_OR_RETURN(
        made.stages_, engine->MakeStages(*reading.config, spec, ranges, reading.weights, false));
    for (const Window& window : reading.windows) {
      const MicroBatch mb = BatchOf(window, made.hidden_.size() + 1);
      ISTHMUS_ASSIGN_OR_RETURN(StageOutput out,
                               made.stages_->stage(0)->Forward(mb, Pass::kEval, Tensor()));
      made.hidden_.push_back(std::move(out.hidden));
    }
    return made;
  }

  absl::StatusOr<Loss> Through(const std::string& codec) {
    EdgeShape shape;
    shape.width = reading_->config->hidden_size;
    shape.num_samples = shape.total_steps = static_cast<int64_t>(hidden_.size());
    shape.max_sample_tokens = kSequenceLength;
    ISTHMUS_ASSIGN_OR_RETURN(const auto sender, EdgeSender::Make(codec, shape, 0));
    ISTHMUS_ASSIGN_OR_RETURN(const auto receiver, EdgeReceiver::Make(codec, shape));
    double sum = 0.0;
    int64_t predicted = 0;
    for (size_t i = 0; i < hidden_.size(); ++i) {
      const MicroBatch mb = BatchOf(reading_->windows[i], i + 1);
      const EdgeHints hints{{mb.ids.begin(), mb.ids.end()}, Tensor()};
      ISTHMUS_ASSIGN_OR_RETURN(const Frame frame,
                               sender->Encode(mb, hidden_[i], EdgeMode::kTrain, false, hints));
      MicroBatch described;
      ISTHMUS_ASSIGN_OR_RETURN(const Tensor decoded,
                               receiver->Decode(frame, EdgeMode::kTrain, &described));
      ISTHMUS_RETURN_IF_ERROR(sender->encoder()->CommitStep(mb.step));
      ISTHMUS_RETURN_IF_ERROR(receiver->decoder()->CommitStep(mb.step));
      ISTHMUS_ASSIGN_OR_RETURN(const StageOutput out,
                               stages_->stage(1)->Forward(mb, Pass::kEval, decoded));
      sum += out.loss_sum;
      predicted += out.predicted;
    }
    const EdgeUse use = sender->TakeUse(Traffic::kTraining);
    return Loss{sum / static_cast<double>(predicted),
                BitsPerElement(use.wire_bytes(), use.elements)};
  }

 private:
  const Reading* reading_ = nullptr;
  std::unique_ptr<StageGroup> stages_;
  std::vector<Tensor> hidden_;
};

absl::Status CheckAgainstProduct(Engine* engine, const Reading& reading, int64_t cut,
                                 const Loss& expected) {
  CutModel::Options options;
  options.cuts = {{cut}, kCheckedCodec};
  options.threads = 1;
  options.num_samples = static_cast<int64_t>(reading.windows.size());
  options.max_sample_tokens = kSequenceLength;
  ISTHMUS_ASSIGN_OR_RETURN(const auto model,
                           CutModel::Open(engine, *reading.config, reading.weights, options));
  double sum = 0.0;
  int64_t predicted = 0;
  for (const Window& window : reading.windows) {
    ISTHMUS_ASSIGN_OR_RETURN(const StageOutput out, model->Evaluate(BatchOf(window, 0)));
    sum += out.loss_sum;
    predicted += out.predicted;
  }
  const CutUse use = model->cuts()[0];
  const double mean = sum / static_cast<double>(predicted);
  if (mean == expected.mean && BitsPerElement(use.wire_bytes, use.elements) == expected.bits)
    return absl::OkStatus();
  return Internal("posthoc: expected the loss of `isthmus eval`, ", mean, ", got ", expected.mean,
                  " (", reading.model, ", cut after ", cut, ")");
}

// Measures one cut of one model on one text.
class CutSearch {
 public:
  CutSearch(Engine* engine, const Reading& reading, int64_t cut, ResultFile* results)
      : engine_(engine), reading_(reading), cut_(cut), results_(results) {}

  // `rivals`: ecq and what it is held against; else the other families.
  absl::Status Run(bool rivals, bool check) {
    ISTHMUS_ASSIGN_OR_RETURN(uncut_, Measured("none", "none"));
    if (check) {
      ISTHMUS_ASSIGN_OR_RETURN(CutReading * halves, Halves());
      ISTHMUS_ASSIGN_OR_RETURN(const Loss loss, halves->Through(kCheckedCodec));
      ISTHMUS_RETURN_IF_ERROR(CheckAgainstProduct(engine_, reading_, cut_, loss));
    }
    for (const CodecFamily& family : CodecFamilies()) {
      const bool first = family.rival || family.name == "ecq";
      if (first == rivals) ISTHMUS_RETURN_IF_ERROR(Follow(family));
    }
    return absl::OkStatus();
  }

 private:
  // Coarser from the start until too much is lost; finer until little enough is.
  absl::Status Follow(const CodecFamily& family) {
    const auto added = [&](size_t index) -> absl::StatusOr<double> {
      ISTHMUS_ASSIGN_OR_RETURN(const Loss loss, Measured(family.name, family.Spec(index)));
      return loss.mean - uncut_.mean;
    };
    for (size_t i = family.start; i < family.values.size(); ++i) {
      ISTHMUS_ASSIGN_OR_RETURN(const double nats, added(i));
      if (nats > kMostAdded) break;
    }
    for (size_t i = family.start + 1; i-- > 0;) {
      ISTHMUS_ASSIGN_OR_RETURN(const double nats, added(i));
      if (nats < kLeastAdded) break;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Loss> Measured(const std::string& family, const std::string& codec) {
    const std::string key = absl::StrCat(reading_.model, "/", reading_.text, "/", reading_.tokens,
                                         "/", cut_, "/", codec);
    if (const nlohmann::json* row = results_->Find(key))
      return Loss{row->value("loss", 0.0), row->value("bits_per_element", 0.0)};
    ISTHMUS_ASSIGN_OR_RETURN(CutReading * halves, Halves());
    ISTHMUS_ASSIGN_OR_RETURN(const Loss loss, halves->Through(codec));
    const double added = family == "none" ? 0.0 : loss.mean - uncut_.mean;
    ISTHMUS_RETURN_IF_ERROR(results_->Add(key, {{"model", reading_.model},
                                                {"text", reading_.text},
                                                {"tokens", reading_.tokens},
                                                {"after", cut_},
                                                {"family", family},
                                                {"codec", codec},
                                                {"bits_per_element", loss.bits},
                                                {"loss", loss.mean},
                                                {"added", added}}));
    std::fprintf(stderr, "bench: %s: %.3f bits, loss %+.4f\n", key.c_str(), loss.bits, added);
    return loss;
  }

  absl::StatusOr<CutReading*> Halves() {
    if (!halves_.has_value()) {
      ISTHMUS_ASSIGN_OR_RETURN(halves_, CutReading::Make(engine_, reading_, cut_));
    }
    return &*halves_;
  }

  Engine* const engine_;
  const Reading& reading_;
  const int64_t cut_;
  ResultFile* const results_;
  std::optional<CutReading> halves_;
  Loss uncut_;
};

absl::StatusOr<std::vector<Window>> ReadWindows(const std::string& path, const Tokenizer& tokenizer,
                                                int64_t vocabulary, int64_t tokens) {
  DatasetOptions options;
  options.sequence_length = kSequenceLength;
  options.vocab_size = vocabulary;
  ISTHMUS_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(path, &tokenizer, options));
  ISTHMUS_ASSIGN_OR_RETURN(std::vector<Window> windows, CutWindows(documents, options));
  for (size_t i = 0; i < windows.size(); ++i) {
    tokens -= static_cast<int64_t>(windows[i].inputs.size());
    if (tokens <= 0) windows.resize(i + 1);
  }
  return windows;
}

bool Wanted(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

absl::Status MeasureModel(const Options& options, const PosthocModel& model, bool rivals,
                          Engine* engine, ResultFile* results) {
  const std::string path = absl::StrCat(options.shared, "/models/", model.name);
  ISTHMUS_ASSIGN_OR_RETURN(const auto directory, ModelDirectory::Open(path));
  ISTHMUS_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Open(path));
  const std::string folder = options.results.substr(0, options.results.rfind('/'));
  for (const std::string& text : model.texts) {
    if (!Wanted(options.texts, text)) continue;
    ISTHMUS_ASSIGN_OR_RETURN(const std::string file,
                             WriteText(text, options.shared + "/data", folder));
    const int64_t tokens = options.tokens > 0 ? options.tokens : model.default_tokens;
    Reading reading{model.name, text, tokens, &directory->config(), directory.get(), {}};
    ISTHMUS_ASSIGN_OR_RETURN(reading.windows,
                             ReadWindows(file, *tokenizer, reading.config->vocab_size, tokens));
    for (int64_t cut = 1; cut < reading.config->num_layers; ++cut)
      ISTHMUS_RETURN_IF_ERROR(
          CutSearch(engine, reading, cut, results).Run(rivals, rivals && cut == 1));
  }
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  ISTHMUS_ASSIGN_OR_RETURN(ResultFile results, ResultFile::Open(options.results));
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeTorchEngine("cpu", 1));
  // What the bars ask for comes first: a run that is stopped has it.
  for (const bool rivals : {true, false}) {
    for (const PosthocModel& model : PosthocModels()) {
      if (!Wanted(options.models, model.name)) continue;
      ISTHMUS_RETURN_IF_ERROR(MeasureModel(options, model, rivals, engine.get(), &results));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Options> ParseArguments(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--shared") {
      options.shared = value;
    } else if (name == "--results") {
      options.results = value;
    } else if (name == "--model") {
      options.models.push_back(value);
    } else if (name == "--text") {
      options.texts.push_back(value);
    } else if (name != "--tokens" || !absl::SimpleAtoi(value, &options.tokens) ||
               options.tokens < 1) {
      return InvalidArgument(
          "posthoc: expected --shared, --results, --model, --text or --tokens N, got ", name, " ",
          value);
    }
  }
  if (argc % 2 == 0 || options.shared.empty() || options.results.find('/') == std::string::npos)
    return InvalidArgument("posthoc: expected --shared DIR --results FOLDER/FILE");
  return options;
}

}  // namespace
}  // namespace isthmus::bench

int main(int argc, char** argv) {
  isthmus::TuneProcess(argv);
  const auto options = isthmus::bench::ParseArguments(argc, argv);
  const absl::Status status = options.ok() ? isthmus::bench::Run(*options) : options.status();
  if (!status.ok()) std::fprintf(stderr, "bench: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : options.ok() ? 1 : 2;
}
