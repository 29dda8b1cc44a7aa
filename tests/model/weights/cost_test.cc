#include "model/cost.h"

#include <gtest/gtest.h>

#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

// The tiny Llama: width 16, q 16, kv 8, feed-forward 24, vocabulary 11.
constexpr double kLinear = 2.0 * (16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 24);

TEST(Cost, BlockByHand) {
  CostAssumptions a;
  a.sequence_length = 10;
  a.lora.rank = 2;  // on q_proj and v_proj: 2 * (16 + 16) + 2 * (16 + 8) values
  const LayerCost lora = BlockCost(TinyConfig(), a).value();
  const double attention = 4.0 * 16 * 10, adapter = 2.0 * (64 + 48);
  EXPECT_DOUBLE_EQ(lora.forward_flops, kLinear + attention + adapter);
  EXPECT_DOUBLE_EQ(lora.backward_flops, kLinear + 2 * attention + 2 * adapter);
  EXPECT_EQ(lora.parameters, static_cast<int64_t>(kLinear / 2) + 2 * 16);
  EXPECT_EQ(lora.weight_bytes, 4 * lora.parameters);
  EXPECT_EQ(lora.trained_parameters, 112);
  EXPECT_EQ(lora.trained_bytes, 112 * 16);  // value, gradient, two moments
  a.full = true;
  const LayerCost full = BlockCost(TinyConfig(), a).value();
  EXPECT_DOUBLE_EQ(full.forward_flops, kLinear + attention);
  EXPECT_DOUBLE_EQ(full.backward_flops, 2 * full.forward_flops);
  EXPECT_EQ(full.trained_bytes, full.parameters * 12);  // the value is the weight
}

TEST(Cost, LayersAddUpToTheModel) {
  for (const std::string& text : {TinyConfigText(), TinyGpt2ConfigText()}) {
    ModelConfig config = ParseModelConfig(text).value();
    for (bool tied : {true, false}) {
      config.tied_embeddings = tied;
      int64_t values = 0;
      for (const NamedTensor& t : TinyTensors(config)) values += t.tensor.num_elements();
      const CostAssumptions a;
      int64_t sum = EmbeddingCost(config, a).parameters + HeadCost(config, a).parameters +
                    config.num_layers * BlockCost(config, a)->parameters;
      if (tied) sum -= config.vocab_size * config.hidden_size;  // one tensor, counted at both ends
      EXPECT_EQ(sum, values);
    }
  }
}

TEST(Cost, RecomputationTradesArithmeticForMemory) {
  CostAssumptions a;
  const LayerCost kept = BlockCost(TinyConfig(), a).value();
  a.recompute = true;
  const LayerCost again = BlockCost(TinyConfig(), a).value();
  EXPECT_EQ(again.activation_bytes, 16 * 4);
  EXPECT_EQ(again.workspace_bytes, kept.activation_bytes);
  EXPECT_DOUBLE_EQ(again.backward_flops, kept.backward_flops + kept.forward_flops);
}

TEST(Cost, EvaluationKeepsNothing) {
  CostAssumptions a;
  a.train = false;
  for (const LayerCost& cost : {BlockCost(TinyConfig(), a).value(), HeadCost(TinyConfig(), a),
                                EmbeddingCost(TinyConfig(), a)}) {
    EXPECT_EQ(cost.activation_bytes, 0);
    EXPECT_EQ(cost.trained_bytes, 0);
    EXPECT_EQ(cost.backward_flops, 0.0);
    EXPECT_GT(cost.weight_bytes, 0);
  }
  EXPECT_DOUBLE_EQ(HeadCost(TinyConfig(), a).forward_flops, 2.0 * 16 * 11);
}

TEST(Cost, Bf16HalvesTheWeights) {
  CostAssumptions a;
  a.bf16 = a.full = true;
  const LayerCost cost = BlockCost(TinyConfig(), a).value();
  EXPECT_EQ(cost.weight_bytes, 2 * cost.parameters);
  EXPECT_EQ(cost.trained_bytes, 16 * cost.parameters);  // with the fp32 master copy
}

TEST(Cost, UnknownTargets) {
  CostAssumptions a;
  a.lora.targets = {"nothing"};
  EXPECT_TRUE(absl::IsInvalidArgument(BlockCost(TinyConfig(), a).status()));
}

}  // namespace
}  // namespace isthmus
