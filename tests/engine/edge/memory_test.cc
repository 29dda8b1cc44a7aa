// The memory of a party: planned before the run, never exceeded, nothing allocated after the first
// step.
#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/edge/edge_stage_group.h"
#include "engine/edge/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/chain.h"

namespace {

// Allocations through operator new of a micro-batch's or a weight's size, on any thread. What is
// smaller (lists of lengths, of rows) comes and goes.
constexpr std::size_t kLarge = 2048;
std::atomic<int64_t> large_allocations{0};

}  // namespace

void* operator new(std::size_t size) {
  if (size >= kLarge) ++large_allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace isthmus {
namespace {

constexpr int64_t kTokens = 24, kSamples = 3, kKept = 2;

ModelConfig Config() {
  ModelConfig config = TinyConfig("llama");
  config.max_positions = 64;
  return config;
}

TrainSpec Spec(const std::string& weights, int64_t limit = 0, bool automatic = false) {
  TrainSpec train;
  train.lora.rank = 3;
  train.edge.weights = weights;
  train.edge.memory_limit_bytes = limit;
  train.edge.update = automatic ? "auto" : "all";
  train.edge.sample_tokens = kTokens;
  train.edge.micro_batch_samples = kSamples;
  train.edge.micro_batches_kept = kKept;
  return train;
}

std::vector<LayerRange> Ranges() { return {{0, 2, true, false}, {3, 4, false, true}}; }

std::unique_ptr<StageGroup> MakeGroup(const TrainSpec& train, int threads = 2) {
  const ModelConfig config = Config();
  const auto engine = Take(MakeEdgeEngine(threads));
  const auto weights = RandomWeights(config, 11);
  return Take(engine->MakeStages(config, train, Ranges(), weights.get(), false));
}

int64_t PlannedBytes(const TrainSpec& train) {
  return Take(Take(MakeEdgeEngine(2))->PlanMemory(Config(), train, Ranges(), false)).bytes;
}

MicroBatch Batch(uint32_t index, int length) {
  MicroBatch mb = PredictNext(RandomDocuments(29, {length + 1, length + 1, length + 1}, index));
  mb.index = index;
  return mb;
}

// What a client does in one step, two micro-batches in flight; returns the loss.
double Step(StageGroup* group, int length) {
  double loss = 0.0;
  Tensor grads[kKept];
  for (uint32_t i = 0; i < kKept; ++i) {
    const MicroBatch mb = Batch(i, length);
    const StageOutput front = Take(group->stage(0)->Forward(mb, Pass::kTrain, Tensor()));
    loss += Take(group->stage(1)->Forward(mb, Pass::kTrain, front.hidden)).loss_sum;
  }
  for (uint32_t i = 0; i < kKept; ++i) {
    grads[i] = Take(group->stage(1)->Backward(i, Tensor()));
    Take(group->stage(0)->Backward(i, grads[i]));
    grads[i] = Tensor();
  }
  EXPECT_TRUE(group->Step(1e-2, 1.0).ok());
  return loss;
}

int64_t BytesNow(StageGroup* group) {
  return dynamic_cast<edge::EdgeStageGroup*>(group)->arena_bytes();
}

TEST(EdgeMemoryTest, ThePlanIsWhatTheRunTakes) {
  for (const char* weights : {"f32", "int8", "int4g64"}) {
    for (bool recompute : {false, true}) {
      TrainSpec train = Spec(weights);
      train.recompute = recompute;
      train.lora.dropout = recompute ? 0.1 : 0.0;
      const auto group = MakeGroup(train);
      EXPECT_EQ(group->memory_plan().bytes, PlannedBytes(train));
      EXPECT_EQ(BytesNow(group.get()), group->memory_plan().bytes);
      for (int length : {24, 7, 24}) Step(group.get(), length);
      Take(group->stage(0)->Forward(Batch(0, kTokens), Pass::kEval, Tensor()));
      EXPECT_EQ(BytesNow(group.get()), group->memory_plan().bytes) << weights;
    }
  }
}

TEST(EdgeMemoryTest, NothingIsAllocatedAfterTheFirstStep) {
  for (const char* weights : {"f32", "int8"}) {
    for (const bool full : {false, true}) {
      TrainSpec train = Spec(weights);
      train.full = full;
      train.edge.sample_tokens = 0;  // not planned: the first step finds its sizes
      const auto group = MakeGroup(train);
      Step(group.get(), kTokens);
      Step(group.get(), kTokens);
      const int64_t bytes = BytesNow(group.get());
      const int64_t before = large_allocations;
      for (int step = 0; step < 3; ++step) Step(group.get(), kTokens);
      EXPECT_EQ(large_allocations, before) << weights;
      EXPECT_EQ(BytesNow(group.get()), bytes);
    }
  }
}

// A trained matrix of int8 codes has no fp32 values anywhere: with SGD its codes, a scale a channel
// and its gradient are all there is.
TEST(EdgeMemoryTest, TrainedCodesTakeTheirBits) {
  ModelConfig config = Config();
  config.hidden_size = config.intermediate_size = config.vocab_size = 128;
  config.head_dim = 32;
  config.num_kv_heads = config.num_heads;
  const auto trained_bytes = [&](const char* weights) {
    TrainSpec train = Spec(weights);
    train.full = true;
    train.optimizer.name = "sgd";
    const auto engine = Take(MakeEdgeEngine(2));
    const auto source = RandomWeights(config, 11);
    const auto group = Take(engine->MakeStages(config, train, Ranges(), source.get(), false));
    EXPECT_EQ(BytesNow(group.get()), group->memory_plan().bytes);
    EXPECT_EQ(group->parameter_bytes(), 0);
    return group->trained_bytes();
  };
  int64_t weights = 0, channels = 0;
  for (const TensorInfo& info : ModelTensors(config)) {
    if (info.shape.size() != 2 || info.layer == 2) continue;
    weights += info.shape[0] * info.shape[1];
    channels += info.shape[0];
  }
  EXPECT_EQ(trained_bytes("f32") - trained_bytes("int8"), 3 * weights - 4 * channels);
}

TEST(EdgeMemoryTest, ALimitIsRefusedBeforeAnythingIsLoaded) {
  const ModelConfig config = Config();
  const auto engine = Take(MakeEdgeEngine(2));
  const auto made = engine->MakeStages(config, Spec("int8", PlannedBytes(Spec("int8")) - 1),
                                       Ranges(), nullptr, false);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted) << made.status();
  EXPECT_NE(made.status().message().find("edge.memory_limit"), absl::string_view::npos);
  MakeGroup(Spec("int8", PlannedBytes(Spec("int8"))));  // exactly enough
}

// The lower the limit the less is trained; what is trained computes as before.
TEST(EdgeMemoryTest, AutoTrainsWhatFits) {
  const int64_t all = PlannedBytes(Spec("int8"));
  TrainSpec recomputed = Spec("int8");
  recomputed.recompute = true;
  const int64_t less = PlannedBytes(recomputed);
  ASSERT_LT(less, all);
  const auto full = MakeGroup(Spec("int8", all, true));
  const auto again = MakeGroup(Spec("int8", all - 1, true));
  EXPECT_EQ(again->memory_plan().bytes, less);
  EXPECT_NE(again->memory_plan().text.find("recomputing"), std::string::npos);
  const auto fewer = MakeGroup(Spec("int8", less - 1, true));
  EXPECT_LT(fewer->memory_plan().bytes, less);
  EXPECT_NE(fewer->memory_plan().text.find("blocks from 1 on"), std::string::npos)
      << fewer->memory_plan().text;
  for (int step = 0; step < 4; ++step) {
    const double loss = Step(full.get(), kTokens);
    EXPECT_EQ(Step(again.get(), kTokens), loss);
    if (step == 0) {
      EXPECT_EQ(Step(fewer.get(), kTokens), loss);
    }
  }
  // Adapters that are left out are still there, as they began, and have no state.
  const auto begun = MakeGroup(Spec("int8"));
  const auto trained = Take(fewer->Trained()), start = Take(begun->Trained());
  ASSERT_EQ(trained.size(), start.size());
  EXPECT_EQ(trained[0].tensor.bytes(), start[0].tensor.bytes());
  EXPECT_NE(trained.back().tensor.bytes(), start.back().tensor.bytes());
  EXPECT_LT(fewer->OptimizerHeaders().size(), begun->OptimizerHeaders().size());
  EXPECT_LT(Take(fewer->GradientSquares()).size(), Take(begun->GradientSquares()).size());
}

// The same in full training: the embedding and the first blocks stay as they are, and the model is
// still whole. Tied, the embedding learns as the head.
void ExpectTheBlocksThatFit(const char* weights) {
  SCOPED_TRACE(weights);
  TrainSpec full = Spec(weights);
  full.full = true;
  const int64_t all = PlannedBytes(full);
  full.recompute = true;
  const int64_t recomputed = PlannedBytes(full);
  const auto begun = MakeGroup(full);
  full.recompute = false;
  full.edge.update = "auto";
  full.edge.memory_limit_bytes = all;
  const auto everything = MakeGroup(full);
  EXPECT_NE(everything->memory_plan().text.find("trained: everything"), std::string::npos);
  full.edge.memory_limit_bytes = recomputed - 1;
  const auto part = MakeGroup(full);
  EXPECT_LT(part->memory_plan().bytes, recomputed);
  EXPECT_NE(part->memory_plan().text.find("recomputing; trained: blocks from 1 on, final norm"),
            std::string::npos)
      << part->memory_plan().text;
  EXPECT_EQ(Step(part.get(), kTokens), Step(everything.get(), kTokens));
  EXPECT_EQ(BytesNow(part.get()), part->memory_plan().bytes);
  const auto trained = Take(part->Trained()), start = Take(begun->Trained());
  ASSERT_EQ(trained.size(), start.size());
  for (size_t i = 0; i < trained.size(); ++i) {
    const bool still = trained[i].name.find("layers.0.") != std::string::npos;
    EXPECT_EQ(trained[i].tensor.bytes() == start[i].tensor.bytes(), still) << trained[i].name;
  }
  EXPECT_LT(Step(part.get(), kTokens), Step(begun.get(), kTokens));
}

TEST(EdgeMemoryTest, AutoTrainsTheBlocksThatFit) {
  for (const char* weights : {"f32", "int8"}) ExpectTheBlocksThatFit(weights);
}

TEST(EdgeMemoryTest, LowBitWeightsTakeTheirBits) {
  const int64_t f32 = MakeGroup(Spec("f32"))->parameter_bytes();
  const int64_t int8 = MakeGroup(Spec("int8"))->parameter_bytes();
  EXPECT_LT(int8, f32);
}

// Results do not depend on the number of threads.
TEST(EdgeMemoryTest, ThreadsDoNotShow) {
  TrainSpec codes = Spec("int8");
  codes.full = true;
  for (const TrainSpec& train : {Spec("f32"), Spec("int8"), Spec("int4g64"), codes}) {
    const auto one = MakeGroup(train, 1), three = MakeGroup(train, 3);
    for (int step = 0; step < 3; ++step)
      EXPECT_EQ(Step(one.get(), kTokens), Step(three.get(), kTokens)) << train.edge.weights;
    EXPECT_TRUE(SameBytes(Take(one->Trained()), Take(three->Trained())));
  }
}

}  // namespace
}  // namespace isthmus
