#include "bench/end_to_end.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/process.h"

namespace isthmus::bench {
namespace {

constexpr int kVocabulary = 512;
constexpr int kTokens = 64;        // positions of a sample
constexpr int kMicroBatches = 16;  // of one sample each
constexpr int kStepsAnEpoch = 2;   // so that every sample has been seen when measuring begins
constexpr int kHosts = 3;          // client and two workers: edges client-0, 0-1, 1-client

// Four blocks of width 512: one at each end of the client, one on each worker.
constexpr char kConfig[] =
    R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 512,
  "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 512,
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

std::string Job(const std::string& codec, int rate_mbps, int steps) {
  return absl::StrCat(
      "model: model\ninit: random\ndata: {train: train.jsonl, sequence_length: ", kTokens,
      "}\nsplit: {head_layers: 1, tail_layers: 1}\ntrain:\n  steps: ", kStepsAnEpoch + steps,
      "\n  micro_batch_size: 1\n  micro_batches: ", kMicroBatches,
      "\n  seed: 1\npipeline: {schedule: gpipe, stages: 2}", "\ncodec: \"", codec,
      "\"\nlink: {rate_mbps: ", rate_mbps, ", delay_ms: 0}\noutput: run\n");
}

double Number(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0.0;
}

std::string Text(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A step of one run.
struct Step {
  double seconds = 0.0;                    // median; tokens and bytes are means
  std::vector<double> each_s, each_bytes;  // of the measured steps
  double mean_s = 0.0;  // of all steps, the first visits of samples included: what a plan predicts
  double predicted_s = 0.0;
  double tokens = 0.0;
  double wire_bytes = 0.0;     // over all edges, both directions
  double busiest_share = 0.0;  // of wire_bytes: what the busiest host sends, or what it receives
  double bits_per_element = 0.0;
  std::string codec_backward;
};

absl::Status ReadSteps(const std::string& path, int steps, Step* step) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<double> seconds;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const nlohmann::json record = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!record.is_object() || Number(record, "tokens_per_s") <= 0.0) {
      return absl::InternalError(absl::StrCat("expected steps with tokens_per_s in ", path));
    }
    step->mean_s +=
        Number(record, "tokens") / Number(record, "tokens_per_s") / (kStepsAnEpoch + steps);
    if (Number(record, "step") <= kStepsAnEpoch) continue;
    seconds.push_back(Number(record, "tokens") / Number(record, "tokens_per_s"));
    step->each_bytes.push_back(Number(record, "wire_bytes"));
    step->tokens += Number(record, "tokens") / steps;
    step->wire_bytes += Number(record, "wire_bytes") / steps;
    step->bits_per_element +=
        (Number(record, "bits_per_element_forward") + Number(record, "bits_per_element_backward")) /
        (2 * steps);
  }
  if (static_cast<int>(seconds.size()) != steps)
    return absl::InternalError(absl::StrCat("expected ", steps, " measured steps in ", path));
  step->each_s = seconds;
  step->seconds = Median(std::move(seconds));
  return absl::OkStatus();
}

// Forward frames of edge e go from host e to host e + 1 around the ring, backward frames the other
// way.
absl::Status ReadWire(const std::string& path, Step* step) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const nlohmann::json report = nlohmann::json::parse(text, nullptr, false);
  const auto rows = report.find("wire");
  if (const auto time = report.find("time"); time != report.end())
    step->predicted_s = Number(*time, "predicted_step_s");
  if (rows == report.end()) return absl::InternalError(absl::StrCat("expected `wire` in ", path));
  std::array<double, kHosts> sent = {}, received = {};
  double all = 0.0;
  for (const nlohmann::json& row : *rows) {
    const int edge = static_cast<int>(Number(row, "edge"));
    const bool forward = Text(row, "direction") == "forward";
    const double bytes = Number(row, "wire_bytes");
    sent[static_cast<size_t>(forward ? edge : edge + 1) % kHosts] += bytes;
    received[static_cast<size_t>(forward ? edge + 1 : edge) % kHosts] += bytes;
    all += bytes;
    if (!forward) step->codec_backward = Text(row, "codec");
  }
  if (all <= 0.0) return absl::InternalError(absl::StrCat("expected rows of bytes in ", path));
  step->busiest_share = std::max(*std::max_element(sent.begin(), sent.end()),
                                 *std::max_element(received.begin(), received.end())) /
                        all;
  return absl::OkStatus();
}

absl::StatusOr<Step> RunOnce(const EndToEndOptions& options, const std::string& codec,
                             int rate_mbps) {
  const std::string job = absl::StrCat(options.folder, "/job.yaml");
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(job, Job(codec, rate_mbps, options.steps)));
  std::fprintf(stderr, "bench: train with %s at %s\n", codec.c_str(),
               rate_mbps == 0 ? "full speed" : absl::StrCat(rate_mbps, " Mbit/s").c_str());
  ISTHMUS_RETURN_IF_ERROR(
      RunProgram({options.isthmus, "train", job, "--overwrite", "--quiet"}).status());
  Step step;
  ISTHMUS_RETURN_IF_ERROR(
      ReadSteps(absl::StrCat(options.folder, "/run/steps.jsonl"), options.steps, &step));
  ISTHMUS_RETURN_IF_ERROR(ReadWire(absl::StrCat(options.folder, "/run/report.json"), &step));
  return step;
}

double TransferSeconds(double wire_bytes, const Step& step, int rate_mbps) {
  return 8.0 * wire_bytes * step.busiest_share / (rate_mbps * 1e6);
}

// Step by step, because a codec whose width still moves sends another number of bytes in each.
double ShareOfBound(const Step& unshaped, const Step& shaped, int rate_mbps) {
  std::vector<double> shares;
  for (size_t i = 0; i < shaped.each_s.size(); ++i)
    shares.push_back(
        std::max(unshaped.seconds, TransferSeconds(shaped.each_bytes[i], shaped, rate_mbps)) /
        shaped.each_s[i]);
  return Median(std::move(shares));
}

nlohmann::json Row(const std::string& codec, int rate_mbps, const Step& unshaped,
                   const Step& shaped) {
  const double transfer_s = TransferSeconds(shaped.wire_bytes, shaped, rate_mbps);
  const double bound_s = std::max(unshaped.seconds, transfer_s);
  return {{"codec", codec},
          {"codec_backward", shaped.codec_backward},
          {"rate_mbps", rate_mbps},
          {"tokens_per_s", shaped.tokens / shaped.seconds},
          {"step_s", shaped.seconds},
          {"compute_s", unshaped.seconds},
          {"transfer_s", transfer_s},
          {"bound_s", bound_s},
          {"share_of_bound", ShareOfBound(unshaped, shaped, rate_mbps)},
          {"mean_step_s", shaped.mean_s},
          {"predicted_s", shaped.predicted_s},
          {"predicted_over_mean", shaped.predicted_s / shaped.mean_s},
          {"bits_per_element", shaped.bits_per_element}};
}

}  // namespace

absl::StatusOr<nlohmann::json> RunEndToEnd(const EndToEndOptions& options) {
  ISTHMUS_RETURN_IF_ERROR(WriteInputs(options.folder));
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& codec : options.codecs) {
    ISTHMUS_ASSIGN_OR_RETURN(const Step unshaped, RunOnce(options, codec, 0));
    for (const int rate : options.rates_mbps) {
      ISTHMUS_ASSIGN_OR_RETURN(const Step shaped, RunOnce(options, codec, rate));
      rows.push_back(Row(codec, rate, unshaped, shaped));
    }
  }
  return rows;
}

}  // namespace isthmus::bench
