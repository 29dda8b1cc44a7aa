// GPT-2 (Radford et al., 2019): LayerNorm, learned positions, fused q/k/v, plain feed-forward,
// biases everywhere, and linear maps stored [in, out].
#include "base/status.h"
#include "model/architecture.h"

namespace isthmus {
namespace {

std::vector<LinearName> Linears(const ModelConfig& c) {
  return {
      {"attn.c_attn", "c_attn", c.hidden_size, 3 * c.hidden_size, true},
      {"attn.c_proj", "c_proj", c.hidden_size, c.hidden_size, true},
      {"mlp.c_fc", "c_fc", c.hidden_size, c.intermediate_size, true},
      {"mlp.c_proj", "c_proj", c.intermediate_size, c.hidden_size, true},
  };
}

// Dropout rates (attn_pdrop, embd_pdrop, resid_pdrop) are not read: the base is trained and run
// without them. reorder_and_upcast_attn changes rounding in half precision only.
absl::Status ParseGpt2(const ConfigFields& fields, ModelConfig* config) {
  ISTHMUS_RETURN_IF_ERROR(
      fields.RefuseFeatures({"add_cross_attention", "scale_attn_by_inverse_layer_idx"}));
  ISTHMUS_ASSIGN_OR_RETURN(const bool scaled, fields.Flag("scale_attn_weights", true));
  if (!scaled) return fields.Expected("scale_attn_weights", "true");
  config->norm = Norm::kLayerNorm;
  config->feed_forward = FeedForward::kPlain;
  config->positions = Positions::kLearned;
  config->qkv_bias = config->out_bias = config->mlp_bias = true;
  config->fused_qkv = config->transposed_linear = true;
  ISTHMUS_ASSIGN_OR_RETURN(config->num_layers, fields.Int("n_layer", 1, kMaxLayers));
  ISTHMUS_ASSIGN_OR_RETURN(config->hidden_size, fields.Int("n_embd", 1, kMaxWidth));
  ISTHMUS_ASSIGN_OR_RETURN(config->num_heads, fields.Int("n_head", 1, kMaxHeads));
  if (config->hidden_size % config->num_heads != 0) {
    return fields.Expected("n_head", absl::StrCat("a divisor of n_embd ", config->hidden_size));
  }
  config->num_kv_heads = config->num_heads;
  config->head_dim = config->hidden_size / config->num_heads;
  ISTHMUS_ASSIGN_OR_RETURN(config->intermediate_size,
                           fields.Int("n_inner", 1, kMaxVocabulary, 4 * config->hidden_size));
  ISTHMUS_ASSIGN_OR_RETURN(config->vocab_size, fields.Int("vocab_size", 1, kMaxVocabulary));
  ISTHMUS_ASSIGN_OR_RETURN(config->max_positions, fields.Int("n_positions", 1, kMaxVocabulary));
  ISTHMUS_ASSIGN_OR_RETURN(config->norm_eps, fields.Number("layer_norm_epsilon", 0.0, 1.0, 1e-5));
  ISTHMUS_ASSIGN_OR_RETURN(config->activation,
                           ParseActivation(fields, "activation_function", "gelu_new"));
  ISTHMUS_ASSIGN_OR_RETURN(config->tied_embeddings, fields.Flag("tie_word_embeddings", true));
  return absl::OkStatus();
}

constexpr absl::string_view kBuffers[] = {".attn.bias", ".attn.masked_bias"};
constexpr absl::string_view kTargets[] = {"c_attn"};

}  // namespace

const Architecture& Gpt2Architecture() {
  static const Architecture row = [] {
    Architecture r;
    r.name = "gpt2";
    r.parse = ParseGpt2;
    r.linears = Linears;
    r.base = "transformer.";
    r.blocks = "h.";
    r.embedding = "wte";
    r.positions = "wpe";
    r.norm1 = "ln_1";
    r.norm2 = "ln_2";
    r.final_norm = "ln_f";
    r.buffers = kBuffers;
    r.scaled_init = ".c_proj.weight";
    r.default_targets = kTargets;
    return r;
  }();
  return row;
}

}  // namespace isthmus
