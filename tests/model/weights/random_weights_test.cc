#include <gtest/gtest.h>

#include <cmath>

#include "model/weights.h"
#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

double Deviation(const Tensor& tensor) {
  double sum = 0.0;
  for (float v : tensor.floats()) sum += double{v} * double{v};
  return std::sqrt(sum / static_cast<double>(tensor.num_elements()));
}

TEST(RandomWeights, AreDrawnTensorByTensor) {
  const ModelConfig config = TinyConfig();
  const auto a = RandomWeights(config, 3), b = RandomWeights(config, 3),
             c = RandomWeights(config, 4);
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  const std::string v = "model.layers.1.self_attn.q_proj.weight";
  // Another order of loading gives the same numbers; another seed, another layer others.
  const Tensor later = (b->Load(v).value(), b->Load(q).value());
  EXPECT_EQ(a->Load(q).value().bytes(), later.bytes());
  EXPECT_NE(a->Load(q).value().bytes(), a->Load(v).value().bytes());
  EXPECT_NE(a->Load(q).value().bytes(), c->Load(q).value().bytes());
  EXPECT_TRUE(absl::IsNotFound(a->Load("lm_head.weight").status()));
}

TEST(RandomWeights, FollowTheInitialisationOfHuggingFace) {
  const ModelConfig config = ParseModelConfig(R"({"model_type": "gpt2", "n_layer": 8, "n_embd": 128,
      "n_head": 4, "n_positions": 64, "vocab_size": 500, "initializer_range": 0.05})")
                                 .value();
  const auto weights = RandomWeights(config, 1);
  for (const TensorInfo& info : ModelTensors(config)) {
    const Tensor t = weights->Load(info.name).value();
    ASSERT_EQ(t.shape(), info.shape);
    const bool bias = info.name.size() > 5 && info.name.substr(info.name.size() - 5) == ".bias";
    if (bias || info.shape.size() == 1) {
      for (float v : t.floats()) ASSERT_EQ(v, bias ? 0.0f : 1.0f) << info.name;
      continue;
    }
    // The maps into the residual stream are scaled by 1 / sqrt(2 layers) = 1/4. 8192 draws: 0.8 %
    // standard error, 4 of them.
    const bool residual = info.name.find("c_proj") != std::string::npos;
    const double wanted = residual ? 0.05 / 4 : 0.05;
    EXPECT_NEAR(Deviation(t) / wanted, 1.0, 0.032) << info.name;
  }
}

TEST(RandomWeights, MemoryThatIsNotThereIsAStatus) {
  const ModelConfig config = ParseModelConfig(R"({"model_type": "llama", "hidden_size": 1048576,
      "num_hidden_layers": 1, "num_attention_heads": 64, "intermediate_size": 16777216,
      "vocab_size": 16777216})")
                                 .value();
  const auto weights = RandomWeights(config, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(weights->Load("model.embed_tokens.weight").status()));
}

}  // namespace
}  // namespace isthmus
