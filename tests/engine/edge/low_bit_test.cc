// A low-bit frozen base on real models and text: what it does to the loss, and to fine-tuning.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "engine/edge/calibration.h"
#include "engine/edge/engine.h"
#include "engine/edge/packed_model.h"
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

// A model and windows of a text: `positions` of them at least to measure on, and others, behind
// them in the file, to calibrate on.
struct Slice {
  std::unique_ptr<ModelDirectory> directory;
  MicroBatch mb;
  std::vector<Window> others;
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
  int64_t last = -1;
  for (Window& window : Take(CutWindows(documents, options))) {
    if (mb->tokens() >= positions) {
      if (window.document != last) slice->others.push_back(std::move(window));
      continue;
    }
    last = window.document;
    mb->samples.push_back(mb->samples.size());
    mb->lengths.push_back(static_cast<int32_t>(window.inputs.size()));
    mb->ids.insert(mb->ids.end(), window.inputs.begin(), window.inputs.end());
    mb->targets.insert(mb->targets.end(), window.targets.begin(), window.targets.end());
  }
  mb->step = 1;
  mb->loss_scale = 1.0 / static_cast<double>(mb->tokens());
  return true;
}

double LossOf(const Slice& slice, ModelDirectory* directory, const std::string& weights) {
  const auto engine = Take(MakeEdgeEngine(2));
  TrainSpec train;
  train.frozen = true;
  train.edge.weights = weights;
  const ModelConfig& config = directory->config();
  Chain chain(engine.get(), config, train, Whole(config), directory);
  double loss = 0.0;
  int64_t predicted = 0;
  for (const MicroBatch& mb : Divide(slice.mb, 4)) {
    const StageOutput out = chain.Forward(mb, Pass::kEval);
    loss += out.loss_sum;
    predicted += out.predicted;
  }
  return loss / static_cast<double>(predicted);
}

double LossWith(const Slice& slice, const std::string& weights) {
  return LossOf(slice, slice.directory.get(), weights);
}

// A folder that goes with its owner.
class PackedFolder {
 public:
  PackedFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "low-bit-XXXXXX").string();
    ISTHMUS_CHECK(mkdtemp(name.data()) != nullptr);
    root_ = name;
  }
  ~PackedFolder() { std::filesystem::remove_all(root_); }
  std::string path() const { return root_ + "/packed"; }

 private:
  std::string root_;
};

// The most that a base may move the loss, nats a token.
constexpr double kInt8 = 0.004;  // of each text
struct Bar {
  std::string model;
  int64_t positions;    // of each text, to measure on
  int64_t calibration;  // of each text, others
  double int4g64;       // rounded to nearest, in the mean over the texts
};

const char* const kTexts[] = {"tinystories-sample/stories.jsonl", "tinyshakespeare/input.txt",
                              "wikitext2/valid_first.tokens.txt"};

class LowBitTest : public testing::TestWithParam<Bar> {};

// Codes calibrated on parts of the three texts, measured on others.
TEST_P(LowBitTest, TheLossMovesByLittle) {
  const Bar& bar = GetParam();
  Slice slices[3];
  CalibrationOptions calibration;
  calibration.threads = 2;
  for (int i = 0; i < 3; ++i) {
    if (!Open(bar.model, kTexts[i], bar.positions, &slices[i]))
      GTEST_SKIP() << "shared is not here";
    for (Window& window : SpreadWindows(slices[i].others, bar.calibration))
      calibration.windows.push_back(std::move(window));
  }
  const PackedFolder folder;
  Take(QuantizeModelCalibrated(Shared("models/" + bar.model), folder.path(),
                               {WeightFormat::kInt4Group, 64}, calibration));
  const auto packed = Take(PackedModel::Open(folder.path()));
  double nearest = 0.0, calibrated = 0.0;
  for (int i = 0; i < 3; ++i) {
    const double exact = LossWith(slices[i], "f32");
    const double by8 = LossWith(slices[i], "int8") - exact;
    const double by4 = LossWith(slices[i], "int4g64") - exact;
    const double by_text = LossOf(slices[i], packed.get(), "int4g64") - exact;
    std::printf("%s on %s: f32 %.5f, int8 %+.5f, int4g64 %+.5f, calibrated %+.5f\n",
                bar.model.c_str(), kTexts[i], exact, by8, by4, by_text);
    EXPECT_NE(by8, 0.0);
    EXPECT_NE(by4, by8);
    EXPECT_LE(std::abs(by8), kInt8) << kTexts[i];
    nearest += std::abs(by4) / 3.0;
    calibrated += std::abs(by_text) / 3.0;
  }
  EXPECT_LE(nearest, bar.int4g64);
  EXPECT_LE(calibrated, 0.5 * nearest);
}

INSTANTIATE_TEST_SUITE_P(Models, LowBitTest,
                         testing::Values(Bar{"stories260K", 12288, 4096, 0.08},
                                         Bar{"babyllama-105", 12288, 4096, 0.045},
                                         Bar{"mixed-14m", 4096, 4096, 0.01}));

// A pass over new text with adapters on `weights`; the mean loss of text that it did not see.
double LossAfterTraining(const Slice& slice, const std::string& weights, bool bf16 = false) {
  const ModelConfig& config = slice.directory->config();
  const auto engine = Take(MakeEdgeEngine(2));
  TrainSpec train;
  train.lora.rank = 8;
  train.lora.targets = {"q_proj", "v_proj", "up_proj", "down_proj"};
  train.edge.weights = weights;
  train.bf16 = bf16;
  Chain chain(engine.get(), config, train, UShape(config, 1, 1), slice.directory.get());
  std::vector<MicroBatch> steps = Divide(slice.mb, 8);
  const size_t held_out = steps.size() - 4;
  double loss = 0.0;
  for (size_t step = 0; step < steps.size(); ++step) {
    MicroBatch& mb = steps[step];
    mb.loss_scale = 1.0 / static_cast<double>(mb.tokens());
    if (step < held_out) {
      chain.TrainStep({mb}, 3e-3);
    } else {
      loss += chain.MeanLoss(mb) / 4.0;
    }
  }
  return loss;
}

// Adapters on a low-bit base end where adapters on the fp32 base end.
TEST(LowBitTrainingTest, FineTuningReachesTheSameLoss) {
  Slice slice;
  if (!Open("stories260K", "tinyshakespeare/input.txt", 12288, &slice))
    GTEST_SKIP() << "shared is not here";
  const double untrained = LossWith(slice, "f32"), exact = LossAfterTraining(slice, "f32");
  std::printf("f32: %.4f before, %.4f after\n", untrained, exact);
  EXPECT_LT(exact, untrained - 0.5);
  for (const char* weights : {"int8", "int4g64"}) {
    const double loss = LossAfterTraining(slice, weights);
    std::printf("%s: %.4f\n", weights, loss);
    EXPECT_NEAR(loss, exact, 0.01 * exact) << weights;
  }
  const double stored = LossAfterTraining(slice, "bf16");
  const double computed = LossAfterTraining(slice, "bf16", /*bf16=*/true);
  std::printf("bf16: %.4f, computed in bf16 %.4f\n", stored, computed);
  EXPECT_NEAR(stored, exact, 0.002 * exact);
  EXPECT_NEAR(computed, exact, 0.002 * exact);
  EXPECT_NE(computed, stored);
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

// Only a frozen base of 16 bits is computed in bf16.
TEST(LowBitBaseTest, Bf16NeedsAFrozenBaseOfBf16) {
  const ModelConfig config = TinyConfig("llama");
  const LayerRange range{0, 4, true, true};
  const auto weights = RandomWeights(config, 1);
  const auto engine = Take(MakeEdgeEngine(1));
  const auto made = [&](const char* format, bool full) {
    TrainSpec train;
    train.bf16 = true;
    train.full = full;
    train.lora.targets = {"q_proj"};
    train.edge.weights = format;
    const auto plan = engine->PlanMemory(config, train, {&range, 1}, false).status();
    const auto stages = engine->MakeStages(config, train, {&range, 1}, weights.get(), false);
    EXPECT_EQ(plan.code(), stages.status().code()) << plan << stages.status();
    return stages.status();
  };
  EXPECT_TRUE(made("bf16", false).ok());
  EXPECT_EQ(made("int8", false).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(made("", false).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(made("bf16", true).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace isthmus
