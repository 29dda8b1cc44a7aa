#include "model/config.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/tensor.h"

namespace isthmus {
namespace {

// The smallest config.json of a row of the Llama family; `more` are further members.
std::string Llama(const std::string& more = "", const std::string& type = "llama") {
  return absl::StrCat(
      "{\"model_type\": \"", type,
      "\", \"hidden_size\": 16, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
      "\"num_key_value_heads\": 2, \"intermediate_size\": 24, \"vocab_size\": 11",
      more.empty() ? "" : ", ", more, "}");
}

std::string Gpt2(const std::string& more = "") {
  return absl::StrCat(
      "{\"model_type\": \"gpt2\", \"n_embd\": 12, \"n_layer\": 2, \"n_head\": 3, "
      "\"n_positions\": 16, \"vocab_size\": 11",
      more.empty() ? "" : ", ", more, "}");
}

ModelConfig Parsed(const std::string& text) {
  const auto config = ParseModelConfig(text);
  EXPECT_TRUE(config.ok()) << config.status() << "\n" << text;
  return config.ok() ? *config : ModelConfig();
}

void ExpectRefused(const std::string& text, const std::string& needle) {
  const absl::Status status = ParseModelConfig(text).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status << "\n" << text;
  EXPECT_TRUE(absl::StrContains(status.message(), needle)) << status << " lacks " << needle;
  EXPECT_FALSE(absl::StrContains(status.message(), "\n")) << status;
}

TEST(Config, LlamaFacts) {
  const ModelConfig c = Parsed(Llama(
      R"("rms_norm_eps": 1e-5, "max_position_embeddings": 64, "eos_token_id": [2, 3], "bos_token_id": 1)"));
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.num_layers, 2);
  EXPECT_EQ(c.head_dim, 4);
  EXPECT_EQ(c.num_kv_heads, 2);
  EXPECT_EQ(c.max_positions, 64);
  EXPECT_EQ(c.norm, Norm::kRmsNorm);
  EXPECT_EQ(c.activation, Activation::kSilu);
  EXPECT_EQ(c.positions, Positions::kRope);
  EXPECT_DOUBLE_EQ(c.norm_eps, 1e-5);
  EXPECT_DOUBLE_EQ(c.rope_theta, 10000.0);
  EXPECT_EQ(c.eos_ids, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_FALSE(c.tied_embeddings || c.qkv_bias || c.fused_qkv || c.transposed_linear);
  EXPECT_EQ(c.sliding_window, 0);
}

TEST(Config, LlamaBiasesAndHeadDim) {
  const ModelConfig c = Parsed(Llama(R"("attention_bias": true, "mlp_bias": true, "head_dim": 6)"));
  EXPECT_TRUE(c.qkv_bias && c.out_bias && c.mlp_bias);
  const std::vector<LinearName> linears = BlockLinears(c);
  ASSERT_EQ(linears.size(), 7u);
  EXPECT_EQ(linears[0].out, 24);
  EXPECT_EQ(linears[1].out, 12);
  EXPECT_EQ(linears[3].in, 24);
  EXPECT_EQ(linears[3].out, 16);
  for (const LinearName& l : linears) EXPECT_TRUE(l.bias) << l.module;
}

TEST(Config, AbsentKeyValueHeads) {
  const auto without = [](const std::string& type) {
    return absl::StrReplaceAll(Llama("", type),
                               {{"\"num_key_value_heads\": 2, ", ""},
                                {"\"num_attention_heads\": 4", "\"num_attention_heads\": 8"}});
  };
  EXPECT_EQ(Parsed(without("llama")).num_kv_heads, 8);
  EXPECT_EQ(Parsed(without("mistral")).num_kv_heads, 8);
  ExpectRefused(without("qwen2"), "num_key_value_heads");  // 32 when absent
  EXPECT_EQ(Parsed(absl::StrReplaceAll(Llama("", "qwen2"), {{"heads\": 2", "heads\": null"}}))
                .num_kv_heads,
            4);
}

TEST(Config, RopeScaling) {
  EXPECT_EQ(Parsed(Llama(R"("rope_scaling": null)")).rope_scaling.kind, RopeScaling::Kind::kNone);
  const ModelConfig linear = Parsed(Llama(R"("rope_scaling": {"type": "linear", "factor": 4})"));
  EXPECT_EQ(linear.rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_DOUBLE_EQ(linear.rope_scaling.factor, 4.0);
  const std::string llama3 =
      R"("rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, )"
      R"("original_max_position_embeddings": 8192)";
  const ModelConfig three =
      Parsed(Llama(absl::StrCat(R"("rope_theta": 500000.0, "rope_scaling": {)", llama3, "}")));
  EXPECT_EQ(three.rope_scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_DOUBLE_EQ(three.rope_theta, 500000.0);
  EXPECT_EQ(three.rope_scaling.original_max_position, 8192);
  // The spelling of transformers 5.
  const ModelConfig five =
      Parsed(Llama(absl::StrCat(R"("rope_parameters": {"rope_theta": 500000.0, )", llama3, "}")));
  EXPECT_EQ(five.rope_scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_DOUBLE_EQ(five.rope_theta, 500000.0);
  EXPECT_DOUBLE_EQ(
      Parsed(Llama(R"("rope_parameters": {"rope_type": "default", "rope_theta": 1e6})")).rope_theta,
      1e6);
}

TEST(Config, RefusesRopeItDoesNotKnow) {
  for (const char* type : {"yarn", "dynamic", "longrope", "su"}) {
    ExpectRefused(Llama(absl::StrCat(R"("rope_scaling": {"type": ")", type, R"(", "factor": 2})")),
                  type);
  }
  ExpectRefused(Llama(R"("rope_scaling": {"type": "linear"})"), "factor");
  ExpectRefused(Llama(R"("rope_scaling": {"type": "linear", "factor": 0})"), "factor");
  ExpectRefused(Llama(R"("rope_scaling": {"rope_type": "llama3", "factor": 8})"), "low_freq");
  ExpectRefused(Llama(R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                         "high_freq_factor": 4, "original_max_position_embeddings": 8})"),
                "high_freq_factor");
  ExpectRefused(Llama(R"("rope_scaling": 3)"), "rope_scaling");
  ExpectRefused(Llama(R"("rope_parameters": {"full_attention": {"rope_type": "default"}})"),
                "full_attention");
  ExpectRefused(Llama(R"("partial_rotary_factor": 0.5)"), "partial_rotary_factor");
}

TEST(Config, MistralWindow) {
  EXPECT_EQ(Parsed(Llama("", "mistral")).sliding_window, 4096);
  EXPECT_EQ(Parsed(Llama(R"("sliding_window": null)", "mistral")).sliding_window, 0);
  EXPECT_EQ(Parsed(Llama(R"("sliding_window": 128)", "mistral")).sliding_window, 128);
  ExpectRefused(Llama(R"("sliding_window": 0)", "mistral"), "sliding_window");
}

TEST(Config, Qwen2BiasesAndWindow) {
  const ModelConfig c =
      Parsed(Llama(R"("sliding_window": 4096, "use_sliding_window": false)", "qwen2"));
  EXPECT_TRUE(c.qkv_bias);
  EXPECT_FALSE(c.out_bias || c.mlp_bias);
  EXPECT_EQ(c.sliding_window, 0);
  const auto windowed = [](int layers) {
    return Llama(absl::StrCat(R"("use_sliding_window": true, "sliding_window": 8, )",
                              R"("max_window_layers": )", layers),
                 "qwen2");
  };
  EXPECT_EQ(Parsed(windowed(2)).sliding_window, 0);
  EXPECT_EQ(Parsed(windowed(0)).sliding_window, 8);
  ExpectRefused(windowed(1), "max_window_layers");
  Parsed(Llama(R"("layer_types": ["full_attention", "full_attention"])", "qwen2"));
  ExpectRefused(Llama(R"("layer_types": ["full_attention", "sliding_attention"])", "qwen2"),
                "layer_types");
}

TEST(Config, Gpt2Facts) {
  const ModelConfig c = Parsed(Gpt2(R"("n_inner": null, "eos_token_id": 10)"));
  EXPECT_EQ(c.intermediate_size, 48);
  EXPECT_EQ(c.activation, Activation::kGeluTanh);
  EXPECT_EQ(c.norm, Norm::kLayerNorm);
  EXPECT_TRUE(c.tied_embeddings && c.fused_qkv && c.transposed_linear && c.mlp_bias);
  EXPECT_EQ(c.positions, Positions::kLearned);
  EXPECT_EQ(c.eos_ids, (std::vector<int64_t>{10}));
  EXPECT_EQ(DefaultLoraTargets(c), (std::vector<std::string>{"c_attn"}));
  EXPECT_EQ(BlockPrefix(c, 1), "transformer.h.1.");
  ExpectRefused(Gpt2(R"("scale_attn_by_inverse_layer_idx": true)"), "inverse_layer_idx");
  ExpectRefused(Gpt2(R"("scale_attn_weights": false)"), "scale_attn_weights");
  ExpectRefused(Gpt2(R"("add_cross_attention": true)"), "add_cross_attention");
  ExpectRefused(absl::StrReplaceAll(Gpt2(), {{"\"n_head\": 3", "\"n_head\": 5"}}), "n_head");
}

TEST(Config, Activations) {
  const auto with = [](const std::string& name) {
    return Parsed(Llama(absl::StrCat("\"hidden_act\": \"", name, "\""))).activation;
  };
  EXPECT_EQ(with("silu"), Activation::kSilu);
  EXPECT_EQ(with("gelu"), Activation::kGeluErf);
  EXPECT_EQ(with("gelu_new"), Activation::kGeluTanh);
  EXPECT_EQ(with("gelu_pytorch_tanh"), Activation::kGeluTanh);
  EXPECT_EQ(with("relu"), Activation::kRelu);
  ExpectRefused(Llama(R"("hidden_act": "mish")"), "hidden_act");
}

TEST(Config, ModelOrderAndShapes) {
  std::vector<std::string> names;
  for (const TensorInfo& t : ModelTensors(Parsed(Gpt2(R"("n_layer": 1)")))) {
    names.push_back(absl::StrCat(t.layer, " ", t.name, " ", ToString(t.shape)));
  }
  EXPECT_EQ(names, (std::vector<std::string>{
                       "-1 transformer.wte.weight [11, 12]",
                       "-1 transformer.wpe.weight [16, 12]",
                       "0 transformer.h.0.ln_1.weight [12]",
                       "0 transformer.h.0.ln_1.bias [12]",
                       "0 transformer.h.0.attn.c_attn.weight [12, 36]",
                       "0 transformer.h.0.attn.c_attn.bias [36]",
                       "0 transformer.h.0.attn.c_proj.weight [12, 12]",
                       "0 transformer.h.0.attn.c_proj.bias [12]",
                       "0 transformer.h.0.ln_2.weight [12]",
                       "0 transformer.h.0.ln_2.bias [12]",
                       "0 transformer.h.0.mlp.c_fc.weight [12, 48]",
                       "0 transformer.h.0.mlp.c_fc.bias [48]",
                       "0 transformer.h.0.mlp.c_proj.weight [48, 12]",
                       "0 transformer.h.0.mlp.c_proj.bias [12]",
                       "1 transformer.ln_f.weight [12]",
                       "1 transformer.ln_f.bias [12]",
                   }));
  const std::vector<TensorInfo> llama = ModelTensors(Parsed(Llama()));
  ASSERT_EQ(llama.size(), 1u + 2 * 9 + 1 + 1);
  EXPECT_EQ(llama.front().name, "model.embed_tokens.weight");
  EXPECT_EQ(llama.back().name, "lm_head.weight");
  EXPECT_EQ(llama.back().layer, 2);
  EXPECT_EQ(llama[3].name, "model.layers.0.self_attn.k_proj.weight");
  EXPECT_EQ(llama[3].shape, (Shape{8, 16}));
  EXPECT_EQ(ModelTensors(Parsed(Llama(R"("tie_word_embeddings": true)"))).back().name,
            "model.norm.weight");
}

TEST(Config, RefusesSizes) {
  const auto change = [](const std::string& from, const std::string& to) {
    const std::string text = Llama();
    EXPECT_TRUE(absl::StrContains(text, from));
    return absl::StrReplaceAll(text, {{from, to}});
  };
  ExpectRefused(change("\"num_attention_heads\": 4", "\"num_attention_heads\": 7"),
                "num_attention_heads");
  ExpectRefused(change("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"),
                "num_key_value_heads");
  for (const char* bad : {"0", "-1", "1e9", "\"16\"", "true", "99999999999", "[16]", "null",
                          "18446744073709551615", "16.5"}) {
    ExpectRefused(change("\"hidden_size\": 16", absl::StrCat("\"hidden_size\": ", bad)),
                  "hidden_size");
    ExpectRefused(change("\"vocab_size\": 11", absl::StrCat("\"vocab_size\": ", bad)),
                  "vocab_size");
  }
  ExpectRefused(change("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 100000"),
                "num_hidden_layers");
  ExpectRefused(Llama("\"head_dim\": 5"), "head_dim");
  ExpectRefused(Llama("\"rms_norm_eps\": -1"), "rms_norm_eps");
  ExpectRefused(Llama("\"rms_norm_eps\": \"x\""), "rms_norm_eps");
  ExpectRefused(Llama("\"tie_word_embeddings\": 1"), "tie_word_embeddings");
  ExpectRefused(Llama("\"eos_token_id\": \"</s>\""), "eos_token_id");
  ExpectRefused(Llama("\"eos_token_id\": [1, null]"), "eos_token_id");
}

TEST(Config, RefusesFeaturesByName) {
  for (const char* key : {"num_local_experts", "num_experts", "n_routed_experts"}) {
    ExpectRefused(Llama(absl::StrCat("\"", key, "\": 8")), key);
  }
  ExpectRefused(Llama(R"("quantization_config": {"quant_method": "gptq"})"), "quantization_config");
  Parsed(Llama(R"("quantization_config": null, "num_experts": 0, "is_encoder_decoder": false)"));
}

TEST(Config, RefusesWhatIsNoConfig) {
  for (const char* text :
       {"", "{", "[]", "3", "null", "\"llama\"", "{\"model_type\": \"llama\",}"}) {
    ExpectRefused(text, "config.json");
  }
  ExpectRefused("{}", "model_type");
  ExpectRefused(R"({"model_type": 3})", "model_type");
  ExpectRefused(R"({"model_type": "lemur"})", "llama, mistral, qwen2, gpt2");
  ExpectRefused(std::string(100000, '['), "config.json");
  ExpectRefused(Llama("\"hidden_act\": \"\xff\xfe\""), "config.json");
}

TEST(Config, SpecialIdsOutsideTheVocabularyAreNone) {
  ModelConfig c = Parsed(Llama(R"("eos_token_id": [-1, 11, 4, 4], "bos_token_id": 11)"));
  EXPECT_EQ(c.eos_ids, (std::vector<int64_t>{4}));
  EXPECT_EQ(c.bos_id, -1);
  EXPECT_TRUE(AddGenerationConfig(R"({"eos_token_id": 5})", &c).ok());
  EXPECT_TRUE(AddGenerationConfig(R"({"eos_token_id": null})", &c).ok());
  EXPECT_EQ(c.eos_ids, (std::vector<int64_t>{4, 5}));
  EXPECT_TRUE(absl::IsInvalidArgument(AddGenerationConfig("{", &c)));
}

}  // namespace
}  // namespace isthmus
