#include "bench/training_cells.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/posthoc_texts.h"
#include "model/config.h"
#include "model/dataset.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {
namespace {

constexpr int kTokens = 128;
constexpr int kMicroBatches = 2;

// Slices are what two cores can go through some thousand times.
struct ModelSetting {
  const char* name;
  size_t train_windows;  // of an epoch of four
  size_t eval_windows;
  int micro_batch_size;  // two of them are a step
  double lora_rate, full_rate;
};
constexpr ModelSetting kSettings[] = {{"stories260K", 256, 48, 8, 3e-3, 1e-3},
                                      {"babyllama-105", 128, 32, 4, 1.5e-3, 2e-4},
                                      {"mixed-14m", 64, 16, 4, 3e-3, 3e-4}};
// A single pass goes over as much as all epochs of the others: as many steps, with one rate.
constexpr size_t kEpochs = 4;

const ModelSetting& SettingOf(const std::string& model) {
  return *std::find_if(std::begin(kSettings), std::end(kSettings) - 1,
                       [&](const ModelSetting& setting) { return setting.name == model; });
}

absl::Status WriteWindows(const std::vector<Window>& windows, const std::string& path) {
  std::string lines;
  for (const Window& window : windows) {
    std::vector<int32_t> ids = window.inputs;
    ids.push_back(window.targets.back());
    absl::StrAppend(&lines, nlohmann::json{{"input_ids", ids}}.dump(), "\n");
  }
  return WriteFileAtomic(path, lines);
}

// The documents' first `most` full windows.
absl::StatusOr<std::vector<Window>> Packed(const std::vector<std::string>& texts, size_t most,
                                           const Tokenizer& tokenizer, int64_t vocabulary,
                                           const std::string& path) {
  std::string lines;
  for (const std::string& text : texts)
    absl::StrAppend(&lines, nlohmann::json{{"text", text}}.dump(), "\n");
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(path, lines));
  DatasetOptions options;
  options.sequence_length = kTokens;
  options.pack = true;
  options.vocab_size = vocabulary;
  ISTHMUS_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(path, &tokenizer, options));
  ISTHMUS_ASSIGN_OR_RETURN(std::vector<Window> windows, CutWindows(documents, options));
  if (windows.size() < most)
    return InvalidArgument("training: expected ", most, " windows, got ", windows.size(), " (",
                           path, ")");
  windows.resize(most);
  return windows;
}

}  // namespace

std::string TrainingCell::Name() const {
  return absl::StrCat(model, "/", data, "/", epochs, epochs == 1 ? " epoch/" : " epochs/",
                      full ? "full" : "LoRA");
}

std::vector<TrainingCell> TrainingCells() {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"stories260K", "tinyshakespeare"},
      {"mixed-14m", "qnli"},
      {"babyllama-105", "tinyshakespeare"},
      {"stories260K", "e2e_nlg"},
      {"mixed-14m", "gsm8k"},
      {"babyllama-105", "e2e_nlg"},
      {"stories260K", "gsm8k"},
      {"babyllama-105", "gsm8k"}};
  std::vector<TrainingCell> cells;
  for (const bool full : {false, true})
    for (const auto& [model, data] : pairs)
      for (const int epochs : {4, 1}) cells.push_back({model, data, epochs, full});
  return cells;
}

absl::StatusOr<TrainingFiles> WriteTrainingFiles(const TrainingCell& cell,
                                                 const std::string& shared,
                                                 const std::string& folder) {
  const ModelSetting& setting = SettingOf(cell.model);
  const std::string model = absl::StrCat(shared, "/models/", cell.model);
  ISTHMUS_ASSIGN_OR_RETURN(const auto directory, ModelDirectory::Open(model));
  ISTHMUS_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Open(model));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                           DocumentsOf(cell.data, shared + "/data"));
  const size_t train_windows = setting.train_windows * kEpochs / static_cast<size_t>(cell.epochs);
  const std::string name =
      absl::StrCat(folder, "/", cell.model, "-", cell.data, "-", train_windows);
  const TrainingFiles files = {name + "-train.jsonl", name + "-eval.jsonl"};
  // Training from the front, evaluation from the last fifth: no document is in both.
  const auto last_fifth = texts.end() - static_cast<std::ptrdiff_t>(texts.size() / 5);
  for (const bool train : {true, false}) {
    const std::vector<std::string> part(train ? texts.begin() : last_fifth,
                                        train ? last_fifth : texts.end());
    const std::string& path = train ? files.train : files.eval;
    ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Window> windows,
                             Packed(part, train ? train_windows : setting.eval_windows, *tokenizer,
                                    directory->config().vocab_size, path));
    ISTHMUS_RETURN_IF_ERROR(WriteWindows(windows, path));
  }
  return files;
}

std::string TrainingJob(const TrainingRunSpec& run, const std::string& shared,
                        const std::string& output) {
  const ModelSetting& setting = SettingOf(run.cell.model);
  return absl::StrCat(
      "model: ", shared, "/models/", run.cell.model,
      "\ncluster: {workers: 1}\ndata:\n  train: ", run.files.train, "\n  eval: ", run.files.eval,
      "\n  sequence_length: ", kTokens,
      "\nsplit: {head_layers: 1, tail_layers: 1}\npipeline: {stages: 1}\ntrain:\n  method: ",
      run.cell.full ? "full" : "lora",
      "\n  lora: {rank: 8, alpha: 16, targets: [q_proj, k_proj, v_proj, o_proj, gate_proj, "
      "up_proj, down_proj]}\n  optimizer: {name: adamw, lr: ",
      run.cell.full ? setting.full_rate : setting.lora_rate,
      "}\n  schedule: {name: cosine, warmup_steps: 4}\n  epochs: ", run.cell.epochs,
      "\n  micro_batch_size: ", setting.micro_batch_size, "\n  micro_batches: ", kMicroBatches,
      "\n  seed: ", run.seed, "\ncodec: {forward: \"", run.codec.forward, "\", backward: \"",
      run.codec.backward, "\"}\n",
      run.rate_mbps > 0 ? absl::StrCat("link: {rate_mbps: ", run.rate_mbps, ", delay_ms: 0}\n")
                        : "",
      "output: ", output, "\n");
}

}  // namespace isthmus::bench
