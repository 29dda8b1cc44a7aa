// Times training steps of a client's part (embedding and first blocks, last blocks and head) of a
// 12-layer decoder of width 768, with the middle cut out, and says what the process took.
//
//   isthmus_step_edge|isthmus_step_torch [--weights FORMAT] [--layers N] [--tokens N] [--steps N]
//                                        [--threads N] [--recompute] [--bf16]
//
// One JSON document: seconds of the fastest and the median step, peak resident bytes, loss.
#include "bench/edge_step.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/rng.h"
#include "base/status.h"
#include "model/config.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {
namespace {

struct Options {
  std::string weights;
  int64_t layers = 1;  // on each side
  int64_t tokens = 128;
  int64_t samples = 4;
  int64_t steps = 8;
  int64_t threads = 2;
  bool recompute = false;
  bool bf16 = false;  // the job's dtype
};

constexpr char kConfig[] = R"({"model_type": "llama", "num_hidden_layers": 12, "hidden_size": 768,
  "num_attention_heads": 12, "num_key_value_heads": 12, "intermediate_size": 2048,
  "vocab_size": 8192, "max_position_embeddings": 2048, "tie_word_embeddings": true})";

MicroBatch RandomBatch(const ModelConfig& config, const Options& options) {
  MicroBatch mb;
  CounterRng rng(RandomKey(1, "bench.edge"));
  for (int64_t s = 0; s < options.samples; ++s) {
    mb.samples.push_back(static_cast<uint64_t>(s));
    mb.lengths.push_back(static_cast<int32_t>(options.tokens));
    for (int64_t t = 0; t < options.tokens; ++t) {
      mb.ids.push_back(static_cast<int32_t>(rng.NextBelow(config.vocab_size)));
      mb.targets.push_back(static_cast<int32_t>(rng.NextBelow(config.vocab_size)));
    }
  }
  mb.loss_scale = 1.0 / static_cast<double>(mb.tokens());
  return mb;
}

// Forward of both stages and backward of both: what lies between them is somebody else's.
absl::StatusOr<double> Step(StageGroup* group, const MicroBatch& mb) {
  ISTHMUS_ASSIGN_OR_RETURN(const StageOutput front,
                           group->stage(0)->Forward(mb, Pass::kTrain, Tensor()));
  ISTHMUS_ASSIGN_OR_RETURN(const StageOutput back,
                           group->stage(1)->Forward(mb, Pass::kTrain, front.hidden));
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor grad, group->stage(1)->Backward(mb.index, Tensor()));
  ISTHMUS_RETURN_IF_ERROR(group->stage(0)->Backward(mb.index, grad).status());
  ISTHMUS_RETURN_IF_ERROR(group->Step(1e-3, 1.0));
  return back.loss_sum / static_cast<double>(back.predicted);
}

absl::StatusOr<nlohmann::json> Measure(const Options& options) {
  ISTHMUS_ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(kConfig));
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeStepEngine(options.threads));
  TrainSpec train;
  train.lora.rank = 8;
  train.lora.targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
  train.recompute = options.recompute;
  train.bf16 = options.bf16;
  train.edge.weights = options.weights;
  const LayerRange ranges[] = {{0, options.layers, true, false},
                               {12 - options.layers, 12, false, true}};
  const auto weights = RandomWeights(config, 1);
  ISTHMUS_ASSIGN_OR_RETURN(const auto group,
                           engine->MakeStages(config, train, ranges, weights.get(), false));
  MicroBatch mb = RandomBatch(config, options);
  std::vector<double> seconds;
  double loss = 0.0;
  for (int64_t step = 0; step <= options.steps; ++step) {
    mb.step = static_cast<uint64_t>(step);
    const auto start = std::chrono::steady_clock::now();
    ISTHMUS_ASSIGN_OR_RETURN(loss, Step(group.get(), mb));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (step > 0) seconds.push_back(took.count());  // the first pays for memory
  }
  std::sort(seconds.begin(), seconds.end());
  return nlohmann::json{{"engine", engine->name()},
                        {"weights", options.weights},
                        {"step_s", seconds[seconds.size() / 2]},
                        {"fastest_step_s", seconds.front()},
                        {"peak_rss_bytes", PeakResidentBytes()},
                        {"loss", loss}};
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--recompute") {
      options.recompute = true;
      continue;
    }
    if (word == "--bf16") {
      options.bf16 = true;
      continue;
    }
    if (i + 1 == argc) break;
    const char* value = argv[++i];
    if (word == "--weights") options.weights = value;
    if (word == "--layers") options.layers = std::atoll(value);
    if (word == "--tokens") options.tokens = std::atoll(value);
    if (word == "--samples") options.samples = std::atoll(value);
    if (word == "--steps") options.steps = std::atoll(value);
    if (word == "--threads") options.threads = std::atoll(value);
  }
  return options;
}

}  // namespace
}  // namespace isthmus::bench

int main(int argc, char** argv) {
  isthmus::bench::PrepareStepProcess(argv);
  const auto result = isthmus::bench::Measure(isthmus::bench::Parse(argc, argv));
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", std::string(result.status().message()).c_str());
    return 1;
  }
  std::printf("%s\n", result->dump().c_str());
  return 0;
}
