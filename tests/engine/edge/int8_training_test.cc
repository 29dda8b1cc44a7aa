// Full training of matrices that are int8 codes: what a step does to them, and what it learns.
#include <algorithm>
#include <cmath>
#include <cstdio>
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

TrainSpec Full(const std::string& weights, uint64_t seed = 0) {
  TrainSpec train;
  train.full = true;
  train.seed = seed;
  train.optimizer = {};
  train.optimizer.name = "sgd";
  train.edge.weights = weights;
  return train;
}

// The scale of a channel of int8 codes: the smallest power of two that holds its values.
double ScaleOf(absl::Span<const float> channel) {
  double largest = 0.0;
  for (float v : channel) largest = std::max<double>(largest, std::fabs(v));
  return std::exp2(std::ceil(std::log2(largest / 127.0)));
}

struct Norms {
  double squares[3] = {0.0, 0.0, 0.0};
  void Add(double a, double b) {
    squares[0] += a * a;
    squares[1] += b * b;
    squares[2] += a * b;
  }
  double ratio() const { return std::sqrt(squares[0] / squares[1]); }
  double cosine() const { return squares[2] / std::sqrt(squares[0] * squares[1]); }
};

MicroBatch TinyBatch(const ModelConfig& config) {
  return PredictNext(RandomDocuments(config.vocab_size, {17, 13, 17, 9}, 5));
}

// After one step from `begin`, the mean over seeds of the rounding.
std::vector<std::vector<double>> MeanAfterStep(const ModelConfig& config,
                                               const std::vector<NamedTensor>& begin,
                                               const std::string& weights, int seeds, double lr) {
  const auto engine = Take(MakeEdgeEngine(1));
  std::vector<std::vector<double>> mean;
  for (const NamedTensor& tensor : begin) mean.emplace_back(tensor.tensor.floats().size());
  for (int seed = 0; seed < seeds; ++seed) {
    Chain chain(engine.get(), config, Full(weights, static_cast<uint64_t>(seed)), Whole(config),
                RandomWeights(config, 11).get());
    chain.SetTrained(begin);
    chain.TrainStep({TinyBatch(config)}, lr);
    const std::vector<NamedTensor> after = chain.Trained();
    for (size_t t = 0; t < mean.size(); ++t) {
      for (size_t i = 0; i < mean[t].size(); ++i)
        mean[t][i] += static_cast<double>(after[t].tensor.floats()[i]) / seeds;
    }
  }
  return mean;
}

// Figure 3 of Lin et al., 2022: the norm of the weights over that of their gradient, in the units
// that the step is made in. Scaled, codes have the ratio that fp32 has, tensor by tensor; the bare
// gradient of the codes, s dL/dW, is s^2 times smaller beside them. And the step goes where fp32's
// does.
TEST(Int8TrainingTest, ScalingGivesCodesTheRatioOfFp32) {
  constexpr double kRate = 0.5;
  const ModelConfig config = TinyConfig("llama");
  const auto engine = Take(MakeEdgeEngine(1));
  const std::vector<NamedTensor> begin =
      Chain(engine.get(), config, Full("int8"), Whole(config), RandomWeights(config, 11).get())
          .Trained();
  const auto exact = MeanAfterStep(config, begin, "f32", 1, kRate);
  const auto coded = MeanAfterStep(config, begin, "int8", 64, kRate);
  int matrices = 0;
  for (size_t t = 0; t < begin.size(); ++t) {
    if (begin[t].tensor.shape().size() != 2) continue;
    ++matrices;
    const absl::Span<const float> values = begin[t].tensor.floats();
    const size_t width = static_cast<size_t>(begin[t].tensor.dim(1));
    Norms fp32, scaled, bare, steps;
    for (size_t i = 0; i < values.size(); ++i) {
      const double scale = ScaleOf(values.subspan(i / width * width, width));
      const double fp32_step = (values[i] - exact[t][i]) / kRate;
      const double code_step = (values[i] - coded[t][i]) / scale / kRate;
      fp32.Add(values[i], fp32_step);
      scaled.Add(values[i] / scale, code_step);
      bare.Add(values[i] / scale, code_step * scale * scale);
      steps.Add(code_step * scale, fp32_step);
    }
    std::printf("%s: fp32 %.3g, scaled %.3g, bare %.3g, cosine %.4f\n", begin[t].name.c_str(),
                fp32.ratio(), scaled.ratio(), bare.ratio(), steps.cosine());
    EXPECT_LT(std::fabs(std::log2(scaled.ratio() / fp32.ratio())), 0.5) << begin[t].name;
    EXPECT_GT(bare.ratio(), 1000.0 * fp32.ratio()) << begin[t].name;
    EXPECT_GT(steps.cosine(), 0.95) << begin[t].name;
  }
  EXPECT_EQ(matrices, 29);
}

std::string Shared(const std::string& path) {
  return absl::StrCat(ISTHMUS_SOURCE_DIR, "/../shared/", path);
}

// Micro-batches of 8 windows of 256 ids.
std::vector<MicroBatch> Steps(const ModelDirectory& directory, size_t count) {
  const auto tokenizer = Take(Tokenizer::Open(Shared("models/stories260K")));
  DatasetOptions options;
  options.sequence_length = 256;
  options.vocab_size = directory.config().vocab_size;
  const auto documents =
      Take(ReadDocuments(Shared("data/tinyshakespeare/input.txt"), tokenizer.get(), options));
  const std::vector<Window> windows = Take(CutWindows(documents, options));
  std::vector<MicroBatch> steps;
  for (size_t w = 0; w < windows.size() && w < 8 * count; ++w) {
    if (w % 8 == 0) steps.emplace_back();
    MicroBatch& mb = steps.back();
    mb.step = steps.size();
    mb.samples.push_back(w);
    mb.lengths.push_back(static_cast<int32_t>(windows[w].inputs.size()));
    mb.ids.insert(mb.ids.end(), windows[w].inputs.begin(), windows[w].inputs.end());
    mb.targets.insert(mb.targets.end(), windows[w].targets.begin(), windows[w].targets.end());
    mb.loss_scale = 1.0 / static_cast<double>(mb.tokens());
  }
  return steps;
}

struct Learned {
  double before = 0.0, after = 0.0;  // loss of text that is not trained on
  double largest_scale = 0.0;        // of the first matrices
};

Learned Train(ModelDirectory* directory, const std::vector<MicroBatch>& steps,
              const TrainSpec& train, double lr) {
  const ModelConfig& config = directory->config();
  const auto engine = Take(MakeEdgeEngine(2));
  Chain chain(engine.get(), config, train, UShape(config, 1, 1), directory);
  constexpr size_t kHeldOut = 4;
  const auto held_out = [&] {
    double loss = 0.0;
    for (size_t i = steps.size() - kHeldOut; i < steps.size(); ++i)
      loss += chain.MeanLoss(steps[i]) / kHeldOut;
    return loss;
  };
  Learned learned;
  for (const NamedTensor& tensor : chain.Trained()) {
    if (tensor.tensor.shape().size() != 2) continue;
    const size_t width = static_cast<size_t>(tensor.tensor.dim(1));
    for (size_t at = 0; at < tensor.tensor.floats().size(); at += width)
      learned.largest_scale =
          std::max(learned.largest_scale, ScaleOf(tensor.tensor.floats().subspan(at, width)));
  }
  learned.before = held_out();
  for (size_t i = 0; i + kHeldOut < steps.size(); ++i) chain.TrainStep({steps[i]}, lr);
  learned.after = held_out();
  return learned;
}

// At the learning rate of fp32 int8 codes learn what fp32 learns. Without the scaling a channel
// would move s^2 times less: with the largest s^2 of all channels, to be generous, little is
// learnt.
TEST(Int8TrainingTest, CodesLearnWhatFp32Learns) {
  if (!std::filesystem::exists(Shared("models/stories260K")) ||
      !std::filesystem::exists(Shared("data/tinyshakespeare")))
    GTEST_SKIP() << "shared is not here";
  const auto directory = Take(ModelDirectory::Open(Shared("models/stories260K")));
  const std::vector<MicroBatch> steps = Steps(*directory, 44);
  struct Way {
    const char* optimizer;
    double momentum, lr;
  };
  for (const Way& way : {Way{"sgd", 0.0, 0.05}, Way{"adamw8bit", 0.0, 1e-3}}) {
    Learned learned[2];
    for (int i : {0, 1}) {
      TrainSpec train = Full(i == 0 ? "f32" : "int8");
      train.optimizer.name = way.optimizer;
      train.optimizer.momentum = way.momentum;
      learned[i] = Train(directory.get(), steps, train, way.lr);
    }
    const Learned &fp32 = learned[0], &int8 = learned[1];
    std::printf("%s %.1f lr %g: %.4f before; fp32 %.4f, int8 %.4f after\n", way.optimizer,
                way.momentum, way.lr, fp32.before, fp32.after, int8.after);
    EXPECT_LT(fp32.after, fp32.before - 0.5);
    EXPECT_NEAR(int8.after, fp32.after, 0.05 * (fp32.before - fp32.after));
    if (way.momentum != 0.0 || way.optimizer != std::string("sgd")) continue;
    const double bare_lr = way.lr * int8.largest_scale * int8.largest_scale;
    const Learned bare = Train(directory.get(), steps, Full("int8"), bare_lr);
    std::printf("without scaling, lr %g: %.4f after\n", bare_lr, bare.after);
    EXPECT_GT(bare.after, bare.before - 0.2 * (fp32.before - fp32.after));
  }
}

// The other party may hold fp32: a tied tensor that both train is fp32 here too, and the same
// there.
TEST(Int8TrainingTest, ATensorOfTwoPartiesIsFp32) {
  const ModelConfig config = TinyConfig("llama");
  const auto engine = Take(MakeEdgeEngine(1));
  const auto source = RandomWeights(config, 11);
  Chain chain(engine.get(), config, Full("int8"), CutAfter(config, {1, 3}), source.get());
  const std::string name = "model.embed_tokens.weight";
  const auto at = [&](size_t party) { return Take(chain.group(party)->ReadState(name)); };
  const Tensor begin = Take(source->Load(name));
  EXPECT_EQ(at(0).bytes(), begin.bytes());
  for (int step = 0; step < 3; ++step) chain.TrainStep({TinyBatch(config)}, 0.1);
  EXPECT_NE(at(0).bytes(), begin.bytes());
  EXPECT_EQ(at(0).bytes(), at(2).bytes());
}

TEST(Int8TrainingTest, WhatDoesNotCombineIsRefused) {
  const ModelConfig config = TinyConfig("llama");
  const LayerRange range{0, 4, true, true};
  const auto weights = RandomWeights(config, 1);
  const auto engine = Take(MakeEdgeEngine(1));
  const auto made = [&](const TrainSpec& train) {
    const auto plan = engine->PlanMemory(config, train, {&range, 1}, false).status();
    const auto stages = engine->MakeStages(config, train, {&range, 1}, weights.get(), false);
    EXPECT_EQ(plan, stages.status());
    return stages.status();
  };
  EXPECT_TRUE(made(Full("int8")).ok());
  EXPECT_TRUE(made(Full("f32")).ok());
  for (const char* format : {"bf16", "int4g64", "int8g64", "fp8"}) {
    const absl::Status refused = made(Full(format));
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << format;
    EXPECT_NE(refused.message().find("expected f32 or int8"), absl::string_view::npos) << refused;
  }
  TrainSpec probes = Full("int8");
  probes.probes = 1;
  EXPECT_EQ(made(probes).code(), absl::StatusCode::kInvalidArgument);
  TrainSpec bf16 = Full("int8");
  bf16.bf16 = true;
  EXPECT_EQ(made(bf16).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace isthmus
