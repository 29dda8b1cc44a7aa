// Training by probes: the directions, the estimate against gradients, exact return, splits, memory.
#include "engine/zeroth_order.h"

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "engine/edge/edge_stage_group.h"
#include "engine/edge/engine.h"
#include "gtest/gtest.h"
#include "model/dataset.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "tests/engine/chain.h"

namespace isthmus {
namespace {

std::vector<float> Direction(const Probe& probe, const std::string& name, size_t count) {
  std::vector<float> z(count, 0.0f);
  MoveAlong(probe, name, 1.0, z, absl::MakeSpan(z));
  return z;
}

TEST(ZerothOrderTest, DirectionsAreNormalAndTheirKeysTell) {
  const std::vector<float> z = Direction({1, 2, 0}, "a", 100001);
  double mean = 0.0, square = 0.0, fourth = 0.0;
  for (float value : z) {
    mean += value / 100001.0;
    square += value * value / 100001.0;
    fourth += std::pow(value, 4) / 100001.0;
  }
  // Five standard errors: those of the three moments are 1, sqrt(2) and sqrt(96) over sqrt(n).
  EXPECT_NEAR(mean, 0.0, 5 / 316.0);
  EXPECT_NEAR(square, 1.0, 5 * 1.42 / 316.0);
  EXPECT_NEAR(fourth, 3.0, 5 * 9.8 / 316.0);
  EXPECT_EQ(Direction({1, 2, 0}, "a", 100001), z);
  const std::vector<float> few = Direction({1, 2, 0}, "a", 7);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), z.begin()));
  for (const Probe& other : {Probe{2, 2, 0}, Probe{1, 3, 0}, Probe{1, 2, 1}})
    EXPECT_NE(Direction(other, "a", 7), few);
  EXPECT_NE(Direction({1, 2, 0}, "b", 7), few);
}

// On a quadratic the slope is exact, and slope * z is the gradient in the mean.
TEST(ZerothOrderTest, TheEstimateIsTheGradientInTheMean) {
  constexpr size_t kCount = 6, kSeeds = 20000;
  const double curvature[kCount] = {1, 2, 0.5, 3, 1, 4}, w[kCount] = {1, -2, 0.5, 0, 3, -1};
  const auto loss = [&](const std::vector<float>& at) {
    double sum = 0.0;
    for (size_t i = 0; i < kCount; ++i) sum += 0.5 * curvature[i] * at[i] * at[i];
    return sum;
  };
  const std::vector<float> values(w, w + kCount);
  double mean[kCount] = {}, square[kCount] = {};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Probe probe = {seed, 1, 0};
    std::vector<float> up(kCount), down(kCount);
    MoveAlong(probe, "w", 0.01, values, absl::MakeSpan(up));
    MoveAlong(probe, "w", -0.01, values, absl::MakeSpan(down));
    const double slope = (loss(up) - loss(down)) / 0.02;
    const std::vector<float> z = Direction(probe, "w", kCount);
    for (size_t i = 0; i < kCount; ++i) {
      mean[i] += slope * z[i] / kSeeds;
      square[i] += slope * z[i] * slope * z[i] / kSeeds;
    }
  }
  for (size_t i = 0; i < kCount; ++i) {
    const double error = std::sqrt((square[i] - mean[i] * mean[i]) / kSeeds);
    EXPECT_NEAR(mean[i], curvature[i] * w[i], 4.5 * error) << i;
  }
}

TrainSpec Lora(int64_t probes) {
  TrainSpec train;
  train.lora.rank = 3;
  train.lora.targets = {"q_proj", "v_proj", "down_proj"};
  train.optimizer.name = "sgd";
  train.seed = 7;
  train.probes = probes;
  return train;
}

Chain MakeChain(const ModelConfig& config, WeightSource* weights, const TrainSpec& train,
                const Parties& parties) {
  const auto engine = Take(MakeEdgeEngine(2));
  return Chain(engine.get(), config, train, parties, weights);
}

// Sum of losses with every party's values moved.
double LossAt(Chain* chain, size_t parties, const MicroBatch& mb, const Probe& probe,
              double scale) {
  for (size_t p = 0; p < parties; ++p) EXPECT_TRUE(chain->group(p)->Move(probe, scale).ok());
  const StageOutput out = chain->Forward(mb, Pass::kEval);
  for (size_t p = 0; p < parties; ++p) EXPECT_TRUE(chain->group(p)->MoveBack().ok());
  return out.loss_sum / static_cast<double>(out.predicted);
}

// One step; returns the mean of the losses.
double ProbeStep(Chain* chain, size_t parties, const MicroBatch& mb, uint64_t step, uint32_t probes,
                 double lr) {
  constexpr double kEps = 1e-3;
  Descent descent = {7, step, {}, lr, 0.0};
  double loss = 0.0;
  for (uint32_t index = 0; index < probes; ++index) {
    const double up = LossAt(chain, parties, mb, {7, step, index}, kEps);
    const double down = LossAt(chain, parties, mb, {7, step, index}, -kEps);
    descent.slopes.push_back((up - down) / (2 * kEps) / probes);
    loss += (up + down) / (2.0 * probes);
  }
  for (size_t p = 0; p < parties; ++p) EXPECT_TRUE(chain->group(p)->Descend(descent).ok());
  return loss;
}

// What a probe says of the loss is what backpropagation says along z.
TEST(EdgeZerothOrderTest, SlopesAreThoseOfBackpropagation) {
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 5);
  const MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {20, 20, 20}, 4));
  for (bool full : {false, true}) {
    TrainSpec probed = Lora(1), learned = Lora(0);
    probed.full = learned.full = full;
    Chain chain = MakeChain(config, weights.get(), probed, Whole(config));
    Chain reference = MakeChain(config, weights.get(), learned, Whole(config));
    if (!full) {  // B of zeros has no gradient for A
      ASSERT_TRUE(chain.group(0)->Descend({7, 1, {1.0}, 0.05, 0.0}).ok());
      reference.SetTrained(chain.Trained());
    }
    const std::vector<NamedTensor> before = reference.Trained();
    reference.TrainStep({mb}, 1.0);  // plain SGD: the gradient is what the values lost
    const std::vector<NamedTensor> after = reference.Trained();
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const Probe probe = {seed, 9, 0};
      double along = 0.0, norm = 0.0;
      for (size_t i = 0; i < before.size(); ++i) {
        const auto was = before[i].tensor.floats(), is = after[i].tensor.floats();
        const std::vector<float> z = Direction(probe, before[i].name, was.size());
        for (size_t j = 0; j < z.size(); ++j) {
          const double gradient = double{was[j]} - is[j];
          along += gradient * z[j];
          norm += gradient * gradient;
        }
      }
      constexpr double kEps = 2e-4;
      const double slope =
          (LossAt(&chain, 1, mb, probe, kEps) - LossAt(&chain, 1, mb, probe, -kEps)) / (2 * kEps);
      EXPECT_NEAR(slope, along, 0.02 * std::sqrt(norm)) << full << " " << seed;
    }
  }
}

// A thousand probes and not one bit of drift.
TEST(EdgeZerothOrderTest, ValuesComeBackToTheBit) {
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 5);
  TrainSpec train = Lora(1);
  train.full = true;
  Chain chain = MakeChain(config, weights.get(), train, UShape(config, 1, 1));
  StageGroup* group = chain.group(0);
  const std::vector<NamedTensor> before = Take(group->Trained());
  for (uint64_t step = 0; step < 1000; ++step) {
    ASSERT_TRUE(group->Move({7, step, 0}, step % 2 == 0 ? 1e-3 : -1e-3).ok());
    if (step % 250 == 0) {
      EXPECT_FALSE(SameBytes(Take(group->Trained()), before));
      EXPECT_EQ(group->Move({7, step, 0}, 1.0).code(), absl::StatusCode::kFailedPrecondition);
    }
    ASSERT_TRUE(group->MoveBack().ok());
  }
  EXPECT_TRUE(SameBytes(Take(group->Trained()), before));
  EXPECT_EQ(group->MoveBack().code(), absl::StatusCode::kFailedPrecondition);
}

// An engine that has not its own way moves copies of its trained state: the same values.
TEST(EdgeZerothOrderTest, TheWayOfEveryEngineIsTheSame) {
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 5);
  Chain a = MakeChain(config, weights.get(), Lora(2), Whole(config));
  Chain b = MakeChain(config, weights.get(), Lora(2), Whole(config));
  StageGroup* own = a.group(0);
  StageGroup* any = b.group(0);
  ASSERT_TRUE(own->Move({7, 1, 1}, 0.1).ok());
  ASSERT_TRUE(any->StageGroup::Move({7, 1, 1}, 0.1).ok());
  EXPECT_TRUE(SameBytes(a.Trained(), b.Trained()));
  ASSERT_TRUE(own->MoveBack().ok());
  ASSERT_TRUE(any->StageGroup::MoveBack().ok());
  const Descent descent = {7, 1, {0.5, -0.25}, 0.1, 0.01};
  ASSERT_TRUE(own->Descend(descent).ok());
  ASSERT_TRUE(any->StageGroup::Descend(descent).ok());
  EXPECT_TRUE(SameBytes(a.Trained(), b.Trained()));
}

TEST(EdgeZerothOrderTest, SplitsDoNotShow) {
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 5);
  const MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {20, 11}, 4));
  Chain whole = MakeChain(config, weights.get(), Lora(2), Whole(config));
  Chain split = MakeChain(config, weights.get(), Lora(2), UShape(config, 1, 1));
  for (uint64_t step = 1; step <= 5; ++step)
    EXPECT_EQ(ProbeStep(&whole, 1, mb, step, 2, 0.1), ProbeStep(&split, 2, mb, step, 2, 0.1));
  EXPECT_TRUE(SameBytes(whole.Trained(), split.Trained()));
}

TEST(EdgeZerothOrderTest, TrainingPassesAndOtherStagesAreRefused) {
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 5);
  const MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {20}, 4));
  Chain probed = MakeChain(config, weights.get(), Lora(1), Whole(config));
  EXPECT_EQ(probed.stages()[0]->Forward(mb, Pass::kTrain, Tensor()).status().code(),
            absl::StatusCode::kFailedPrecondition);
  Chain learned = MakeChain(config, weights.get(), Lora(0), Whole(config));
  EXPECT_EQ(learned.group(0)->Move({7, 1, 0}, 0.1).code(), absl::StatusCode::kFailedPrecondition);
  TrainSpec adam = Lora(1);
  adam.optimizer.name = "adamw";
  const LayerRange range{0, 4, true, true};
  const auto made =
      Take(MakeEdgeEngine(1))->MakeStages(config, adam, {&range, 1}, weights.get(), false);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
}

// No activations, no gradients, no optimizer state: the plan says so and the run keeps to it.
TEST(EdgeZerothOrderTest, TakesTheMemoryOfForwardPasses) {
  const ModelConfig config = TinyConfig("llama", "\"hidden_size\": 64, \"intermediate_size\": 160");
  const auto weights = RandomWeights(config, 5);
  const LayerRange range{0, 4, true, true};
  int64_t planned[2], trained[2];
  for (int64_t probes : {0, 1}) {
    TrainSpec train = Lora(probes);
    if (probes == 0) train.optimizer.name = "adamw";
    train.edge.sample_tokens = 24;
    train.edge.micro_batch_samples = 3;
    train.edge.micro_batches_kept = probes == 0 ? 2 : 0;
    const auto engine = Take(MakeEdgeEngine(2));
    const auto group = Take(engine->MakeStages(config, train, {&range, 1}, weights.get(), false));
    planned[probes] = group->memory_plan().bytes;
    trained[probes] = group->trained_bytes();
    if (probes == 0) continue;
    auto* edge = dynamic_cast<edge::EdgeStageGroup*>(group.get());
    const MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {25, 25, 25}, 4));
    for (uint64_t step = 1; step <= 3; ++step) {
      ASSERT_TRUE(group->Move({7, step, 0}, 1e-3).ok());
      Take(group->stage(0)->Forward(mb, Pass::kEval, Tensor()));
      ASSERT_TRUE(group->MoveBack().ok());
      ASSERT_TRUE(group->Descend({7, step, {0.1}, 0.1, 0.0}).ok());
      EXPECT_EQ(group->stage(0)->activation_bytes(), 0);
    }
    EXPECT_EQ(edge->arena_bytes(), planned[probes]);
  }
  std::printf("planned %ld bytes by probes, %ld by backpropagation\n", planned[1], planned[0]);
  EXPECT_EQ(trained[1] * 2, trained[0]);  // values twice; values, gradients and two moments
  EXPECT_LT(planned[1], planned[0] * 6 / 10);
}

TEST(EdgeZerothOrderTest, TheLossOfARealModelFalls) {
  const std::string shared = absl::StrCat(ISTHMUS_SOURCE_DIR, "/../shared/");
  const std::string model = shared + "models/stories260K";
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "shared is not here";
  const auto directory = Take(ModelDirectory::Open(model));
  const auto tokenizer = Take(Tokenizer::Open(model));
  DatasetOptions options;
  options.sequence_length = 64;
  options.vocab_size = directory->config().vocab_size;
  const auto documents =
      Take(ReadDocuments(shared + "data/tinyshakespeare/input.txt", tokenizer.get(), options));
  const std::vector<Window> windows = Take(CutWindows(documents, options));
  MicroBatch mb;
  for (size_t i = 0; i < 8; ++i) {
    mb.samples.push_back(i);
    mb.lengths.push_back(static_cast<int32_t>(windows[i].inputs.size()));
    mb.ids.insert(mb.ids.end(), windows[i].inputs.begin(), windows[i].inputs.end());
    mb.targets.insert(mb.targets.end(), windows[i].targets.begin(), windows[i].targets.end());
  }
  TrainSpec train = Lora(1);
  train.lora.rank = 4;
  train.lora.targets = {"q_proj", "v_proj"};
  train.edge.weights = "int8";
  Chain chain =
      MakeChain(directory->config(), directory.get(), train, UShape(directory->config(), 1, 1));
  const double before = chain.MeanLoss(mb);
  for (uint64_t step = 1; step <= 100; ++step) ProbeStep(&chain, 2, mb, step, 1, 5e-4);
  const double after = chain.MeanLoss(mb);
  std::printf("stories260K, LoRA on int8 by 100 probes: %.4f before, %.4f after\n", before, after);
  EXPECT_LT(after, before - 0.1);
}

}  // namespace
}  // namespace isthmus
