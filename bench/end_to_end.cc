#include "bench/end_to_end.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/process.h"

namespace isthmus::bench {
namespace {

constexpr int kWidth = 512;
constexpr int kVocabulary = 512;
constexpr int kTokens = 64;        // positions of a sample
constexpr int kMicroBatches = 16;  // of one sample each
constexpr int kStepsAnEpoch = 2;   // so that every sample has been seen when measuring begins
constexpr int kMeasuredSteps = 4;

// Six blocks: one at each end of the client, two on each worker.
constexpr char kConfig[] =
    R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 512,
  "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 512,
  "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
  "tie_word_embeddings": false, "initializer_range": 0.02}
)";

absl::Status WriteInputs(const std::string& folder) {
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(absl::StrCat(folder, "/model")));
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(folder, "/model/config.json"), kConfig));
  std::string lines;
  uint32_t state = 1;
  for (int sample = 0; sample < kMicroBatches * kStepsAnEpoch; ++sample) {
    std::vector<int> ids;
    for (int i = 0; i <= kTokens; ++i) {
      state = state * 1664525u + 1013904223u;
      ids.push_back(static_cast<int>((state >> 16) % kVocabulary));
    }
    absl::StrAppend(&lines, nlohmann::json{{"input_ids", ids}}.dump(), "\n");
  }
  return WriteFileAtomic(absl::StrCat(folder, "/train.jsonl"), lines);
}

std::string Job(const std::string& codec, int rate_mbps, const std::string& output) {
  return absl::StrCat(
      "model: model\ninit: random\ndata: {train: train.jsonl, sequence_length: ", kTokens,
      "}\nsplit: {head_layers: 1, tail_layers: 1}\ntrain:\n  steps: ",
      kStepsAnEpoch + kMeasuredSteps, "\n  micro_batch_size: 1\n  micro_batches: ", kMicroBatches,
      "\n  seed: 1\npipeline: {schedule: 1f1b, stages: 2}", "\ncodec: \"", codec,
      "\"\nlink: {rate_mbps: ", rate_mbps, ", delay_ms: 0}\noutput: ", output, "\n");
}

// Means over the measured steps of one run.
struct StepMeans {
  double seconds = 0.0, tokens = 0.0, bits_forward = 0.0, bits_backward = 0.0;
};

double Number(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0.0;
}

absl::StatusOr<StepMeans> ReadSteps(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  StepMeans means;
  int measured = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const nlohmann::json step = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!step.is_object() || Number(step, "tokens_per_s") <= 0.0) {
      return absl::InternalError(absl::StrCat("expected steps with tokens_per_s in ", path));
    }
    if (Number(step, "step") <= kStepsAnEpoch) continue;
    ++measured;
    means.tokens += Number(step, "tokens");
    means.seconds += Number(step, "tokens") / Number(step, "tokens_per_s");
    means.bits_forward += Number(step, "bits_per_element_forward");
    means.bits_backward += Number(step, "bits_per_element_backward");
  }
  if (measured != kMeasuredSteps)
    return absl::InternalError(
        absl::StrCat("expected ", kMeasuredSteps, " measured steps in ", path));
  for (double* mean : {&means.tokens, &means.seconds, &means.bits_forward, &means.bits_backward})
    *mean /= measured;
  return means;
}

absl::StatusOr<StepMeans> RunOnce(const EndToEndOptions& options, const std::string& codec,
                                  int rate_mbps) {
  const std::string job = absl::StrCat(options.folder, "/job.yaml");
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(job, Job(codec, rate_mbps, "run")));
  std::fprintf(stderr, "bench: train with %s at %s\n", codec.c_str(),
               rate_mbps == 0 ? "full speed" : absl::StrCat(rate_mbps, " Mbit/s").c_str());
  ISTHMUS_RETURN_IF_ERROR(
      RunProgram({options.isthmus, "train", job, "--overwrite", "--quiet"}).status());
  return ReadSteps(absl::StrCat(options.folder, "/run/steps.jsonl"));
}

// Every host sends as much as it receives: one forward and one backward frame per micro-batch each
// way, of equal size at all cuts.
double TransferSeconds(const StepMeans& means, int rate_mbps) {
  const double bits = means.tokens * kWidth * (means.bits_forward + means.bits_backward);
  return bits / (rate_mbps * 1e6);
}

}  // namespace

absl::StatusOr<nlohmann::json> RunEndToEnd(const EndToEndOptions& options) {
  ISTHMUS_RETURN_IF_ERROR(WriteInputs(options.folder));
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& codec : options.codecs) {
    ISTHMUS_ASSIGN_OR_RETURN(const StepMeans unshaped, RunOnce(options, codec, 0));
    for (const int rate : options.rates_mbps) {
      ISTHMUS_ASSIGN_OR_RETURN(const StepMeans run, RunOnce(options, codec, rate));
      const double transfer = TransferSeconds(run, rate);
      const double bound = std::max(unshaped.seconds, transfer);
      rows.push_back({{"codec", codec},
                      {"rate_mbps", rate},
                      {"tokens_per_s", run.tokens / run.seconds},
                      {"step_s", run.seconds},
                      {"compute_s", unshaped.seconds},
                      {"transfer_s", transfer},
                      {"bound_s", bound},
                      {"share_of_bound", bound / run.seconds},
                      {"bits_per_element", (run.bits_forward + run.bits_backward) / 2}});
    }
  }
  return rows;
}

}  // namespace isthmus::bench
