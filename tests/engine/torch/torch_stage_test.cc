// The contract suites on the LibTorch engine.
#include "engine/torch/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/reference_contract.h"
#include "tests/engine/stage_contract.h"

namespace isthmus {
namespace {

std::unique_ptr<Engine> MakeCpu() { return Take(MakeTorchEngine("cpu", 1)); }

INSTANTIATE_TEST_SUITE_P(Torch, StageContract, testing::Values(&MakeCpu));
INSTANTIATE_TEST_SUITE_P(Torch, ReferenceContract, testing::Values(&MakeCpu));

TEST(TorchEngineTest, NamesItself) { EXPECT_EQ(MakeCpu()->name().substr(0, 6), "torch "); }

TEST(TorchEngineTest, RefusesADeviceThatDoesNotExist) {
  const absl::Status status = MakeTorchEngine("tpu", 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("--device"), absl::string_view::npos) << status;
}

TEST(TorchEngineTest, CudaComputesOrIsRefusedByFlag) {
  const auto cuda = MakeTorchEngine("cuda", 1);
  if (!cuda.ok()) {
    EXPECT_EQ(cuda.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(cuda.status().message().find("--device"), absl::string_view::npos) << cuda.status();
    return;
  }
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 3);
  const MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {9, 6}, 1));
  Chain on_cpu(MakeCpu().get(), config, {}, Whole(config), weights.get());
  Chain on_cuda(cuda->get(), config, {}, Whole(config), weights.get());
  for (int step = 0; step < 5; ++step) {
    EXPECT_NEAR(on_cuda.TrainStep({mb}, 1e-2), on_cpu.TrainStep({mb}, 1e-2), 1e-4);
  }
}

// Rounding grows with depth; a tiny model's loss moves by less than a hundredth.
TEST(TorchEngineTest, Bf16FollowsFp32) {
  const auto engine = MakeCpu();
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 3);
  const MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {9, 6}, 1));
  for (bool full : {false, true}) {
    TrainSpec train;
    train.full = full;
    Chain exact(engine.get(), config, train, Whole(config), weights.get());
    train.bf16 = true;
    Chain rounded(engine.get(), config, train, Whole(config), weights.get());
    for (int step = 0; step < 5; ++step) {
      const double want = exact.TrainStep({mb}, 1e-2);
      const double got = rounded.TrainStep({mb}, 1e-2);
      EXPECT_NEAR(got, want, 2e-2 * want);
      EXPECT_NE(got, want);
    }
    EXPECT_EQ(rounded.Trained()[0].tensor.dtype(), DType::kF32);
  }
}

// Large enough for the kernels that real models get: on a processor with AMX these are other
// instructions, which a process has to ask for.
TEST(TorchEngineTest, Bf16OfOrdinarySizeFollowsFp32) {
  const auto engine = MakeCpu();
  ModelConfig config = TinyConfig("llama");
  config.hidden_size = 128;
  config.head_dim = config.hidden_size / config.num_heads;
  config.intermediate_size = 256;
  config.max_positions = 128;
  const auto weights = RandomWeights(config, 3);
  const MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {97, 64}, 1));
  TrainSpec train;
  Chain exact(engine.get(), config, train, Whole(config), weights.get());
  train.bf16 = true;
  Chain rounded(engine.get(), config, train, Whole(config), weights.get());
  for (int step = 0; step < 3; ++step) {
    const double want = exact.TrainStep({mb}, 1e-2);
    EXPECT_NEAR(rounded.TrainStep({mb}, 1e-2), want, 2e-2 * want);
  }
}

}  // namespace
}  // namespace isthmus
