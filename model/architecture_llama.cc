// Llama and its close relatives: RMSNorm, rotary positions, grouped-query attention, gated
// feed-forward. Llama 2 (Touvron et al., 2023), Llama 3 (Dubey et al., 2024), Mistral 7B (Jiang et
// al., 2023), Qwen2 (Yang et al., 2024).
#include <optional>

#include "base/status.h"
#include "model/architecture.h"

namespace isthmus {
namespace {

std::vector<LinearName> Linears(const ModelConfig& c) {
  const int64_t q = c.num_heads * c.head_dim;
  const int64_t kv = c.num_kv_heads * c.head_dim;
  return {
      {"self_attn.q_proj", "q_proj", c.hidden_size, q, c.qkv_bias},
      {"self_attn.k_proj", "k_proj", c.hidden_size, kv, c.qkv_bias},
      {"self_attn.v_proj", "v_proj", c.hidden_size, kv, c.qkv_bias},
      {"self_attn.o_proj", "o_proj", q, c.hidden_size, c.out_bias},
      {"mlp.gate_proj", "gate_proj", c.hidden_size, c.intermediate_size, c.mlp_bias},
      {"mlp.up_proj", "up_proj", c.hidden_size, c.intermediate_size, c.mlp_bias},
      {"mlp.down_proj", "down_proj", c.intermediate_size, c.hidden_size, c.mlp_bias},
  };
}

// {"rope_type" or (older) "type": …, "factor": …}; both spellings of the same facts are in use.
absl::Status ParseRopeScaling(const ConfigFields& fields, RopeScaling* scaling) {
  const absl::string_view key = fields.Has("rope_type") ? "rope_type" : "type";
  ISTHMUS_ASSIGN_OR_RETURN(const std::string type, fields.Text(key, "default"));
  if (type == "default") return absl::OkStatus();
  if (type != "linear" && type != "llama3") {
    return fields.Expected(key, "one of default, linear, llama3");
  }
  ISTHMUS_ASSIGN_OR_RETURN(scaling->factor, fields.Number("factor", 1.0, 1e6));
  if (type == "linear") {
    scaling->kind = RopeScaling::Kind::kLinear;
    return absl::OkStatus();
  }
  scaling->kind = RopeScaling::Kind::kLlama3;
  ISTHMUS_ASSIGN_OR_RETURN(scaling->low_freq_factor, fields.Number("low_freq_factor", 1e-6, 1e6));
  ISTHMUS_ASSIGN_OR_RETURN(scaling->high_freq_factor, fields.Number("high_freq_factor", 1e-6, 1e6));
  ISTHMUS_ASSIGN_OR_RETURN(scaling->original_max_position,
                           fields.Int("original_max_position_embeddings", 1, kMaxPositions));
  if (scaling->high_freq_factor <= scaling->low_freq_factor) {
    return fields.Expected("high_freq_factor", "more than low_freq_factor");
  }
  return absl::OkStatus();
}

// rope_theta and rope_scaling; releases from 5.0 on write one object rope_parameters instead.
absl::Status ParseRope(const ConfigFields& fields, ModelConfig* config) {
  config->positions = Positions::kRope;
  ISTHMUS_ASSIGN_OR_RETURN(config->rope_theta, fields.Number("rope_theta", 1.0, 1e12, 10000.0));
  for (absl::string_view key : {"rope_scaling", "rope_parameters"}) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::optional<ConfigFields> rope, fields.Object(key));
    if (!rope.has_value()) continue;
    ISTHMUS_RETURN_IF_ERROR(rope->RefuseFeatures({"full_attention", "sliding_attention"}));
    ISTHMUS_RETURN_IF_ERROR(ParseRopeScaling(*rope, &config->rope_scaling));
    ISTHMUS_ASSIGN_OR_RETURN(config->rope_theta,
                             rope->Number("rope_theta", 1.0, 1e12, config->rope_theta));
    ISTHMUS_ASSIGN_OR_RETURN(const double part, rope->Number("partial_rotary_factor", 0, 1, 1.0));
    if (part != 1.0) return rope->Expected("partial_rotary_factor", "1 or nothing");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const double part, fields.Number("partial_rotary_factor", 0, 1, 1.0));
  if (part != 1.0) return fields.Expected("partial_rotary_factor", "1 or nothing");
  return absl::OkStatus();
}

// `kv_heads` and `positions`: what the key means when it is absent, which differs by row (0: as
// many as heads).
absl::Status ParseShared(const ConfigFields& fields, int64_t kv_heads, int64_t positions,
                         ModelConfig* config) {
  config->norm = Norm::kRmsNorm;
  config->feed_forward = FeedForward::kGated;
  ISTHMUS_ASSIGN_OR_RETURN(config->num_layers, fields.Int("num_hidden_layers", 1, kMaxLayers));
  ISTHMUS_ASSIGN_OR_RETURN(config->hidden_size, fields.Int("hidden_size", 1, kMaxWidth));
  ISTHMUS_ASSIGN_OR_RETURN(config->num_heads, fields.Int("num_attention_heads", 1, kMaxHeads));
  const bool null_kv_heads = fields.json().contains("num_key_value_heads");
  ISTHMUS_ASSIGN_OR_RETURN(
      config->num_kv_heads,
      fields.Int("num_key_value_heads", 1, kMaxHeads,
                 kv_heads == 0 || null_kv_heads ? config->num_heads : kv_heads));
  if (!fields.Has("head_dim") && config->hidden_size % config->num_heads != 0) {
    return fields.Expected("num_attention_heads",
                           absl::StrCat("a divisor of hidden_size ", config->hidden_size));
  }
  ISTHMUS_ASSIGN_OR_RETURN(config->head_dim, fields.Int("head_dim", 1, kMaxHeads,
                                                        config->hidden_size / config->num_heads));
  ISTHMUS_ASSIGN_OR_RETURN(config->intermediate_size,
                           fields.Int("intermediate_size", 1, kMaxVocabulary));
  ISTHMUS_ASSIGN_OR_RETURN(config->vocab_size, fields.Int("vocab_size", 1, kMaxVocabulary));
  ISTHMUS_ASSIGN_OR_RETURN(config->max_positions,
                           fields.Int("max_position_embeddings", 1, kMaxPositions, positions));
  ISTHMUS_ASSIGN_OR_RETURN(config->norm_eps, fields.Number("rms_norm_eps", 0.0, 1.0, 1e-6));
  ISTHMUS_ASSIGN_OR_RETURN(config->activation, ParseActivation(fields, "hidden_act", "silu"));
  ISTHMUS_ASSIGN_OR_RETURN(config->tied_embeddings, fields.Flag("tie_word_embeddings", false));
  return ParseRope(fields, config);
}

absl::Status ParseLlama(const ConfigFields& fields, ModelConfig* config) {
  ISTHMUS_RETURN_IF_ERROR(ParseShared(fields, 0, 2048, config));
  ISTHMUS_RETURN_IF_ERROR(fields.RefuseFeatures({"sliding_window"}));
  ISTHMUS_ASSIGN_OR_RETURN(config->qkv_bias, fields.Flag("attention_bias", false));
  config->out_bias = config->qkv_bias;
  ISTHMUS_ASSIGN_OR_RETURN(config->mlp_bias, fields.Flag("mlp_bias", false));
  return absl::OkStatus();
}

absl::Status ParseMistral(const ConfigFields& fields, ModelConfig* config) {
  ISTHMUS_RETURN_IF_ERROR(ParseShared(fields, 8, 4096 * 32, config));
  ISTHMUS_RETURN_IF_ERROR(fields.RefuseFeatures({"attention_bias", "mlp_bias"}));
  // An absent key means 4096; an explicit null means full attention.
  const int64_t absent = fields.json().contains("sliding_window") ? 0 : 4096;
  ISTHMUS_ASSIGN_OR_RETURN(config->sliding_window,
                           fields.Int("sliding_window", 1, kMaxPositions, absent));
  return absl::OkStatus();
}

// Qwen2 can give a window to the layers from max_window_layers on. All or none is supported, a
// mixture is not.
absl::Status ParseQwen2Window(const ConfigFields& fields, ModelConfig* config) {
  ISTHMUS_ASSIGN_OR_RETURN(const bool windowed, fields.Flag("use_sliding_window", false));
  if (!windowed) return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t full_layers,
                           fields.Int("max_window_layers", 0, kMaxPositions, 28));
  if (full_layers >= config->num_layers) return absl::OkStatus();
  if (full_layers > 0) {
    return fields.Expected("max_window_layers", "0 or at least num_hidden_layers");
  }
  ISTHMUS_ASSIGN_OR_RETURN(config->sliding_window,
                           fields.Int("sliding_window", 1, kMaxPositions, 4096));
  return absl::OkStatus();
}

absl::Status ParseQwen2(const ConfigFields& fields, ModelConfig* config) {
  ISTHMUS_RETURN_IF_ERROR(ParseShared(fields, 32, 32768, config));
  ISTHMUS_RETURN_IF_ERROR(ParseQwen2Window(fields, config));
  config->qkv_bias = true;
  return absl::OkStatus();
}

constexpr absl::string_view kBuffers[] = {".rotary_emb.inv_freq"};
constexpr absl::string_view kTargets[] = {"q_proj", "v_proj"};

Architecture Row(absl::string_view name, absl::Status (*parse)(const ConfigFields&, ModelConfig*)) {
  Architecture row;
  row.name = name;
  row.parse = parse;
  row.linears = Linears;
  row.base = "model.";
  row.blocks = "layers.";
  row.embedding = "embed_tokens";
  row.norm1 = "input_layernorm";
  row.norm2 = "post_attention_layernorm";
  row.final_norm = "norm";
  row.buffers = kBuffers;
  row.default_targets = kTargets;
  return row;
}

}  // namespace

const Architecture& LlamaArchitecture() {
  static const Architecture row = Row("llama", ParseLlama);
  return row;
}

const Architecture& MistralArchitecture() {
  static const Architecture row = Row("mistral", ParseMistral);
  return row;
}

const Architecture& Qwen2Architecture() {
  static const Architecture row = Row("qwen2", ParseQwen2);
  return row;
}

}  // namespace isthmus
