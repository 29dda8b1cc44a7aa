// A low-bit frozen base on real models and text: what it does to the loss, and to fine-tuning.
#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "engine/edge/engine.h"
#include "gtest/gtest.h"
#include "model/dataset.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "tests/engine/chain.h"

namespace isthmus {
namespace {

std::string Shared(const std::string& path) {
  return absl::StrCat(ISTHMUS_SOURCE_DIR, "/../shared/", path);
}

// A model and windows of a text, `positions` of them at least.
struct Slice {
  std::unique_ptr<ModelDirectory> directory;
  MicroBatch mb;
};

bool Open(const std::string& model, const std::string& data, int64_t positions, Slice* slice) {
  if (!std::filesystem::exists(Shared("models/" + model)) ||
      !std::filesystem::exists(Shared("data/" + data)))
    return false;
  slice->directory = Take(ModelDirectory::Open(Shared("models/" + model)));
  const auto tokenizer = Take(Tokenizer::Open(Shared("models/" + model)));
  DatasetOptions options;
  options.sequence_length = std::min<int64_t>(256, slice->directory->config().max_positions);
  options.vocab_size = slice->directory->config().vocab_size;
  const auto documents = Take(ReadDocuments(Shared("data/" + data), tokenizer.get(), options));
  MicroBatch* mb = &slice->mb;
  for (const Window& window : Take(CutWindows(documents, options))) {
    if (mb->tokens() >= positions) break;
    mb->samples.push_back(mb->samples.size());
    mb->lengths.push_back(static_cast<int32_t>(window.inputs.size()));
    mb->ids.insert(mb->ids.end(), window.inputs.begin(), window.inputs.end());
    mb->targets.insert(mb->targets.end(), window.targets.begin(), window.targets.end());
  }
  mb->step = 1;
  mb->loss_scale = 1.0 / static_cast<double>(mb->tokens());
  return true;
}

double LossWith(const Slice& slice, const std::string& weights) {
  const auto engine = Take(MakeEdgeEngine(2));
  TrainSpec train;
  train.frozen = true;
  train.edge.weights = weights;
  const ModelConfig& config = slice.directory->config();
  Chain chain(engine.get(), config, train, Whole(config), slice.directory.get());
  double loss = 0.0;
  int64_t predicted = 0;
  for (const MicroBatch& mb : Divide(slice.mb, 4)) {
    const StageOutput out = chain.Forward(mb, Pass::kEval);
    loss += out.loss_sum;
    predicted += out.predicted;
  }
  return loss / static_cast<double>(predicted);
}

struct Bar {
  std::string model, data;
  int64_t positions;
  double int4g64;  // the most that rounding to nearest may cost, nats a token
};

class LowBitTest : public testing::TestWithParam<Bar> {};

TEST_P(LowBitTest, TheLossMovesByLittle) {
  Slice slice;
  const Bar& bar = GetParam();
  if (!Open(bar.model, bar.data, bar.positions, &slice)) GTEST_SKIP() << "shared is not here";
  const double exact = LossWith(slice, "f32");
  const double int8 = LossWith(slice, "int8"), int4 = LossWith(slice, "int4g64");
  std::printf("%s: f32 %.5f, int8 %+.5f, int4g64 %+.5f\n", bar.model.c_str(), exact, int8 - exact,
              int4 - exact);
  EXPECT_LE(int8 - exact, 0.004);
  EXPECT_LE(int4 - exact, bar.int4g64);
  EXPECT_NE(int8, exact);
  EXPECT_NE(int4, int8);
}

INSTANTIATE_TEST_SUITE_P(
    Models, LowBitTest,
    testing::Values(Bar{"stories260K", "tinystories-sample/stories.jsonl", 8192, 0.08},
                    Bar{"babyllama-105", "tinystories-sample/stories.jsonl", 8192, 0.045},
                    Bar{"mixed-14m", "tinyshakespeare/input.txt", 4096, 0.01}));

// Adapters on a low-bit base end where adapters on the fp32 base end.
TEST(LowBitTrainingTest, FineTuningReachesTheSameLoss) {
  Slice slice;
  if (!Open("stories260K", "tinyshakespeare/input.txt", 1024, &slice))
    GTEST_SKIP() << "shared is not here";
  const ModelConfig& config = slice.directory->config();
  const auto engine = Take(MakeEdgeEngine(2));
  double last[3];
  const char* const formats[] = {"f32", "int8", "int4g64"};
  for (int i = 0; i < 3; ++i) {
    TrainSpec train;
    train.lora.rank = 8;
    train.lora.targets = {"q_proj", "v_proj", "up_proj", "down_proj"};
    train.edge.weights = formats[i];
    Chain chain(engine.get(), config, train, UShape(config, 1, 1), slice.directory.get());
    double first = 0.0;
    for (int step = 0; step < 60; ++step) {
      last[i] = chain.TrainStep({slice.mb}, 5e-3);
      if (step == 0) first = last[i];
    }
    std::printf("%s: %.4f to %.4f\n", formats[i], first, last[i]);
    EXPECT_LT(last[i], first - 0.5);
    EXPECT_NEAR(last[i], last[0], 0.01 * last[0]) << formats[i];
  }
}

TEST(LowBitBaseTest, AnUnknownFormatIsRefused) {
  const ModelConfig config = TinyConfig("llama");
  TrainSpec train;
  train.edge.weights = "int3";
  const LayerRange range{0, 4, true, true};
  const auto weights = RandomWeights(config, 1);
  const auto engine = Take(MakeEdgeEngine(1));
  const auto made = engine->MakeStages(config, train, {&range, 1}, weights.get(), false);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << made.status();
}

}  // namespace
}  // namespace isthmus
