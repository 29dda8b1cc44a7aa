#include "model/adapter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/safetensors.h"
#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

Adapter MakeAdapter(const ModelConfig& config, std::vector<std::string> targets) {
  Adapter adapter;
  adapter.lora.rank = 3;
  adapter.lora.alpha = 6;
  adapter.lora.targets = std::move(targets);
  adapter.base_model = "tiny";
  CounterRng rng(5);
  const std::vector<TensorInfo> infos = AdapterTensors(config, adapter.lora).value();
  for (const TensorInfo& info : infos) {
    Tensor values(DType::kF32, info.shape);
    for (float& v : values.mutable_floats()) v = static_cast<float>(rng.NextNormal());
    adapter.tensors.push_back({info.name, values});
  }
  return adapter;
}

class AdapterTest : public ::testing::Test {
 protected:
  // Writes a good adapter, changes its config with a JSON patch, and expects the reader to say
  // `needle`.
  void ExpectRefused(const std::string& patch, const std::string& needle) {
    ASSERT_TRUE(WriteAdapter(folder_.path(), config_, MakeAdapter(config_, {"q_proj"})).ok());
    nlohmann::json json =
        nlohmann::json::parse(ReadFile(folder_.path() + "/adapter_config.json").value());
    json.update(nlohmann::json::parse(patch));
    std::ofstream(folder_.path() + "/adapter_config.json") << json.dump();
    ExpectRefused(needle);
  }
  void ExpectRefused(const std::string& needle) {
    const absl::Status status = ReadAdapter(folder_.path(), config_).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsNotFound(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), needle)) << status << " lacks " << needle;
    EXPECT_FALSE(absl::StrContains(status.message(), "\n")) << status;
  }
  void WriteTensors(const std::vector<NamedTensor>& tensors) {
    ASSERT_TRUE(WriteSafetensors(folder_.path() + "/adapter_model.safetensors", tensors).ok());
  }

  ModelConfig config_ = TinyConfig();
  TemporaryFolder folder_;
};

TEST_F(AdapterTest, Names) {
  EXPECT_EQ(LoraTensorName(config_, 1, "self_attn.q_proj", 'A'),
            "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight");
  const ModelConfig gpt2 = ParseModelConfig(TinyGpt2ConfigText()).value();
  EXPECT_EQ(LoraTensorName(gpt2, 0, "attn.c_attn", 'B'),
            "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight");
}

TEST_F(AdapterTest, TargetsNameLeavesOrPaths) {
  const auto modules = [](const ModelConfig& config, std::vector<std::string> targets) {
    LoraSpec lora;
    lora.targets = std::move(targets);
    const std::vector<LinearName> linears = LoraLinears(config, lora).value();
    std::vector<std::string> names;
    for (const LinearName& l : linears) names.push_back(l.module);
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(modules(config_, {}), (Names{"self_attn.q_proj", "self_attn.v_proj"}));
  EXPECT_EQ(modules(config_, {"down_proj", "self_attn.q_proj", "down_proj"}),
            (Names{"self_attn.q_proj", "mlp.down_proj"}));
  const ModelConfig gpt2 = ParseModelConfig(TinyGpt2ConfigText()).value();
  EXPECT_EQ(modules(gpt2, {"c_proj"}), (Names{"attn.c_proj", "mlp.c_proj"}));
  EXPECT_EQ(modules(gpt2, {"mlp.c_proj"}), (Names{"mlp.c_proj"}));
  for (const char* bad : {"lm_head", "proj", "", ".q_proj", "embed_tokens"}) {
    LoraSpec lora;
    lora.targets = {bad};
    EXPECT_TRUE(absl::IsInvalidArgument(LoraLinears(config_, lora).status())) << bad;
  }
}

TEST_F(AdapterTest, Scale) {
  LoraSpec lora;
  lora.rank = 16;
  lora.alpha = 8;
  EXPECT_DOUBLE_EQ(lora.scale(), 0.5);
  lora.use_rslora = true;
  EXPECT_DOUBLE_EQ(lora.scale(), 2.0);
}

TEST_F(AdapterTest, ReadsWhatItWrites) {
  for (const std::string& text : {TinyConfigText(), TinyGpt2ConfigText()}) {
    const ModelConfig config = ParseModelConfig(text).value();
    const Adapter adapter = MakeAdapter(config, {});
    ASSERT_TRUE(WriteAdapter(folder_.path(), config, adapter).ok());
    const auto read = ReadAdapter(folder_.path(), config);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->lora.rank, 3);
    EXPECT_DOUBLE_EQ(read->lora.alpha, 6.0);
    EXPECT_EQ(read->lora.targets, DefaultLoraTargets(config));
    EXPECT_EQ(read->base_model, "tiny");
    ASSERT_EQ(read->tensors.size(), adapter.tensors.size());
    for (size_t i = 0; i < adapter.tensors.size(); ++i) {
      EXPECT_EQ(read->tensors[i].name, adapter.tensors[i].name);
      EXPECT_EQ(read->tensors[i].tensor.bytes(), adapter.tensors[i].tensor.bytes());
    }
    const auto json =
        nlohmann::json::parse(ReadFile(folder_.path() + "/adapter_config.json").value());
    EXPECT_EQ(json["fan_in_fan_out"], config.transposed_linear);
    EXPECT_EQ(json["lora_alpha"].dump(), "6");
    EXPECT_EQ(json["peft_type"], "LORA");
    EXPECT_TRUE(json["modules_to_save"].is_null());
  }
}

TEST_F(AdapterTest, HalfPrecisionFilesBecomeFp32) {
  const Adapter adapter = MakeAdapter(config_, {"q_proj"});
  ASSERT_TRUE(WriteAdapter(folder_.path(), config_, adapter).ok());
  std::vector<NamedTensor> tensors = adapter.tensors;
  for (NamedTensor& t : tensors) t.tensor = Tensor::Zeros(DType::kBF16, t.tensor.shape());
  WriteTensors(tensors);
  const auto read = ReadAdapter(folder_.path(), config_);
  ASSERT_TRUE(read.ok()) << read.status();
  for (const NamedTensor& t : read->tensors) EXPECT_EQ(t.tensor.dtype(), DType::kF32);
}

TEST_F(AdapterTest, AllLinear) {
  const Adapter adapter = MakeAdapter(
      config_, {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"});
  ASSERT_TRUE(WriteAdapter(folder_.path(), config_, adapter).ok());
  std::ofstream(folder_.path() + "/adapter_config.json")
      << R"({"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": "all-linear"})";
  const auto read = ReadAdapter(folder_.path(), config_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tensors.size(), adapter.tensors.size());
}

TEST_F(AdapterTest, RefusesByName) {
  ExpectRefused(R"({"peft_type": "IA3"})", "peft_type");
  ExpectRefused(R"({"task_type": "SEQ_CLS"})", "task_type");
  ExpectRefused(R"({"bias": "lora_only"})", "bias");
  ExpectRefused(R"({"modules_to_save": ["lm_head"]})", "modules_to_save");
  ExpectRefused(R"({"use_dora": true})", "use_dora");
  ExpectRefused(R"({"rank_pattern": {"q_proj": 4}})", "rank_pattern");
  ExpectRefused(R"({"alpha_pattern": {"q_proj": 4}})", "alpha_pattern");
  ExpectRefused(R"({"layers_to_transform": [0]})", "layers_to_transform");
  ExpectRefused(R"({"init_lora_weights": "pissa_niter_16"})", "init_lora_weights");
  ExpectRefused(R"({"target_modules": ".*q_proj"})", "target_modules");
  ExpectRefused(R"({"target_modules": []})", "target_modules");
  ExpectRefused(R"({"target_modules": ["q_proj", 3]})", "target_modules");
  ExpectRefused(R"({"target_modules": ["lm_head"]})", "lm_head");
  ExpectRefused(R"({"r": 0})", "r:");
  ExpectRefused(R"({"lora_alpha": "x"})", "lora_alpha");
  ExpectRefused(R"({"lora_dropout": 2})", "lora_dropout");
}

TEST_F(AdapterTest, RefusesOtherTensors) {
  ExpectRefused(R"({"r": 4})", "[4, 16]");
  ExpectRefused(R"({"target_modules": ["q_proj", "v_proj"]})", "v_proj");
  ExpectRefused(R"({"target_modules": ["v_proj"]})", "v_proj");
}

TEST_F(AdapterTest, MissingAndDamagedFiles) {
  EXPECT_TRUE(absl::IsNotFound(ReadAdapter(folder_.path() + "/no", config_).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadAdapter(folder_.path(), config_).status()));
  const Adapter adapter = MakeAdapter(config_, {"q_proj"});
  ASSERT_TRUE(WriteAdapter(folder_.path(), config_, adapter).ok());
  std::vector<NamedTensor> tensors = adapter.tensors;
  tensors.push_back({"base_model.model.lm_head.weight", Tensor::Zeros(DType::kF32, {1})});
  WriteTensors(tensors);
  ExpectRefused("lm_head");
  tensors = adapter.tensors;
  tensors[0].tensor = Tensor::Zeros(DType::kI32, tensors[0].tensor.shape());
  WriteTensors(tensors);
  ExpectRefused("I32");
  const std::string weights = folder_.path() + "/adapter_model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) / 2);
  ExpectRefused("adapter_model.safetensors");
  fs::remove(weights);
  ExpectRefused("adapter_model.safetensors");
  std::ofstream(folder_.path() + "/adapter_model.bin") << "x";
  ExpectRefused("adapter_model.bin");
  std::ofstream(folder_.path() + "/adapter_config.json") << "{";
  ExpectRefused("adapter_config.json");
}

TEST_F(AdapterTest, WriterRefusesAnIncompleteAdapter) {
  Adapter adapter = MakeAdapter(config_, {"q_proj"});
  adapter.tensors.pop_back();
  const std::string out = folder_.path() + "/out";
  EXPECT_TRUE(absl::IsInvalidArgument(WriteAdapter(out, config_, adapter)));
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace isthmus
