// config.json of a Hugging Face model directory, as the engines need it.
#ifndef ISTHMUS_MODEL_CONFIG_H_
#define ISTHMUS_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace isthmus {

enum class Norm : uint8_t { kRmsNorm, kLayerNorm };
enum class Activation : uint8_t { kSilu, kGeluTanh, kGeluErf, kRelu };
enum class Positions : uint8_t { kRope, kLearned };
enum class FeedForward : uint8_t { kGated, kPlain };  // gate/up/down, or fc/proj

// Rope scaling of Llama 3 ("llama3") and the older linear one. dynamic and yarn are refused by
// name.
struct RopeScaling {
  enum class Kind : uint8_t { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position = 8192;
};

// One decoder-only transformer. Filled from config.json by the architecture's row
// (model/architectures.def).
struct ModelConfig {
  std::string architecture;  // the row's name: "llama", "mistral", "qwen2", "gpt2"
  std::string text;  // config.json as it is on disk (travels to workers, goes into merged models)

  int64_t num_layers = 0;
  int64_t hidden_size = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;  // the model's context

  Norm norm = Norm::kRmsNorm;
  double norm_eps = 1e-5;
  Activation activation = Activation::kSilu;
  FeedForward feed_forward = FeedForward::kGated;
  Positions positions = Positions::kRope;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  int64_t sliding_window =
      0;  // 0: full causal attention (Mistral: positions attended, the own one included)
  bool qkv_bias = false;
  bool out_bias = false;  // o_proj
  bool mlp_bias = false;
  bool fused_qkv = false;          // GPT-2's c_attn
  bool transposed_linear = false;  // GPT-2's Conv1D: weights are stored [in, out]
  bool tied_embeddings = false;
  double initializer_range = 0.02;

  std::vector<int64_t> eos_ids;  // config.json and generation_config.json
  int64_t bos_id = -1;
};

// Parses config.json text. kInvalidArgument names the key; an architecture without a row is refused
// with the list of rows.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json);

// Adds the end-of-text ids of generation_config.json. kInvalidArgument when it is not JSON of that
// form.
absl::Status AddGenerationConfig(absl::string_view generation_config_json, ModelConfig* config);

// The linear maps of one block that an adapter may target, in the model's tensor order: names as
// Hugging Face spells them
// ("self_attn.q_proj" …, "attn.c_attn" …), with their sizes. `weight` is the full tensor name for
// layer `i`.
struct LinearName {
  std::string module;  // the path below the block: "self_attn.q_proj"
  std::string leaf;    // the name an adapter targets: "q_proj"
  int64_t in = 0;
  int64_t out = 0;
  bool bias = false;
};
std::vector<LinearName> BlockLinears(const ModelConfig& config);
std::string BlockPrefix(const ModelConfig& config,
                        int64_t layer);  // "model.layers.3." or "transformer.h.3."

// Every tensor of the model with its stored shape, in the model's order: embeddings, blocks from 0,
// final norm, head (absent when tied). `layer` is -1 for embeddings, the block's number, or
// num_layers for final norm and head.
struct TensorInfo {
  std::string name;
  std::vector<int64_t> shape;
  int64_t layer = 0;
};
std::vector<TensorInfo> ModelTensors(const ModelConfig& config);

// Adapter targets used when a job names none: q_proj and v_proj, GPT-2: c_attn.
std::vector<std::string> DefaultLoraTargets(const ModelConfig& config);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_CONFIG_H_
