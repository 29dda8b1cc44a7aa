#include "model/config.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"
#include "model/architecture.h"

namespace isthmus {

#define ISTHMUS_ARCHITECTURE(row) const Architecture& row();
#include "model/architectures.def"
#undef ISTHMUS_ARCHITECTURE

namespace {

const std::vector<const Architecture*>& Architectures() {
  static const std::vector<const Architecture*> rows = {
#define ISTHMUS_ARCHITECTURE(row) &row(),
#include "model/architectures.def"
#undef ISTHMUS_ARCHITECTURE
  };
  return rows;
}

const Architecture* FindArchitecture(absl::string_view name) {
  for (const Architecture* row : Architectures()) {
    if (row->name == name) return row;
  }
  return nullptr;
}

std::string ArchitectureNames() {
  return absl::StrJoin(Architectures(), ", ", [](std::string* out, const Architecture* row) {
    absl::StrAppend(out, row->name);
  });
}

// Features that would change the result if they were passed over in silence, whatever the
// architecture.
absl::Status RefuseUnsupported(const ConfigFields& fields) {
  return fields.RefuseFeatures(
      {"num_local_experts", "num_experts", "n_routed_experts", "num_experts_per_tok",
       "moe_intermediate_size", "quantization_config", "is_encoder_decoder", "qk_norm",
       "attn_logit_softcapping", "final_logit_softcapping", "logit_scale", "embedding_multiplier"});
}

// layer_types of newer releases must say the same of every layer, and the same as the window.
absl::Status CheckLayerTypes(const ConfigFields& fields, const ModelConfig& config) {
  if (!fields.Has("layer_types")) return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<std::string> types, fields.Texts("layer_types"));
  const absl::string_view wanted =
      config.sliding_window > 0 ? "sliding_attention" : "full_attention";
  for (const std::string& type : types) {
    if (wanted != type) {
      return fields.Expected("layer_types", absl::StrCat(wanted, " for every layer"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckHeads(const ConfigFields& fields, const ModelConfig& config) {
  if (config.num_heads % config.num_kv_heads != 0) {
    return fields.Expected("num_key_value_heads",
                           absl::StrCat("a divisor of num_attention_heads ", config.num_heads));
  }
  if (config.positions == Positions::kRope && config.head_dim % 2 != 0) {
    return InvalidArgument("head_dim: expected an even number, got ", config.head_dim, " (",
                           fields.where(), ")");
  }
  if (config.num_heads * config.head_dim > kMaxWidth) {
    return InvalidArgument("num_attention_heads * head_dim: expected at most ", kMaxWidth, ", got ",
                           config.num_heads * config.head_dim, " (", fields.where(), ")");
  }
  return absl::OkStatus();
}

// Adds ids of `key` that the vocabulary has; others could never be drawn (-1 stands for "none" in
// some files).
absl::Status AddEosIds(const ConfigFields& fields, ModelConfig* config) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, fields.Ints("eos_token_id"));
  for (int64_t id : ids) {
    const bool known =
        std::find(config->eos_ids.begin(), config->eos_ids.end(), id) != config->eos_ids.end();
    if (id >= 0 && id < config->vocab_size && !known) config->eos_ids.push_back(id);
  }
  return absl::OkStatus();
}

absl::Status ParseSpecialIds(const ConfigFields& fields, ModelConfig* config) {
  ISTHMUS_RETURN_IF_ERROR(AddEosIds(fields, config));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<int64_t> bos, fields.Ints("bos_token_id"));
  if (!bos.empty() && bos[0] >= 0 && bos[0] < config->vocab_size) config->bos_id = bos[0];
  return absl::OkStatus();
}

// Appends NAME.weight and, when there is one, NAME.bias.
void AppendTensor(std::vector<TensorInfo>* tensors, const std::string& name,
                  std::vector<int64_t> weight, int64_t bias, int64_t layer) {
  tensors->push_back({absl::StrCat(name, ".weight"), std::move(weight), layer});
  if (bias > 0) tensors->push_back({absl::StrCat(name, ".bias"), {bias}, layer});
}

void AppendBlock(const ModelConfig& config, int64_t layer, std::vector<TensorInfo>* tensors) {
  const Architecture& row = ArchitectureOf(config);
  const std::string prefix = BlockPrefix(config, layer);
  const int64_t width = config.hidden_size;
  const int64_t norm_bias = config.norm == Norm::kLayerNorm ? width : 0;
  AppendTensor(tensors, absl::StrCat(prefix, row.norm1), {width}, norm_bias, layer);
  bool in_feed_forward = false;
  for (const LinearName& linear : row.linears(config)) {
    if (!in_feed_forward && absl::string_view(linear.module).substr(0, 4) == "mlp.") {
      in_feed_forward = true;
      AppendTensor(tensors, absl::StrCat(prefix, row.norm2), {width}, norm_bias, layer);
    }
    std::vector<int64_t> shape = {linear.out, linear.in};
    if (config.transposed_linear) std::swap(shape[0], shape[1]);
    AppendTensor(tensors, prefix + linear.module, std::move(shape), linear.bias ? linear.out : 0,
                 layer);
  }
}

}  // namespace

const Architecture& ArchitectureOf(const ModelConfig& config) {
  const Architecture* row = FindArchitecture(config.architecture);
  ISTHMUS_CHECK(row != nullptr);
  return *row;
}

absl::StatusOr<Activation> ParseActivation(const ConfigFields& fields, absl::string_view key,
                                           absl::string_view otherwise) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string name, fields.Text(key, std::string(otherwise)));
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") {
    return Activation::kGeluTanh;
  }
  if (name == "relu") return Activation::kRelu;
  return fields.Expected(key, "one of silu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu");
}

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json) {
  ISTHMUS_ASSIGN_OR_RETURN(const ConfigFields fields,
                           ConfigFields::Parse(config_json, "config.json"));
  const Architecture* row = nullptr;
  if (fields.IsText("model_type")) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string type, fields.Text("model_type"));
    row = FindArchitecture(type);
  }
  if (row == nullptr) {
    return fields.Expected("model_type", absl::StrCat("one of ", ArchitectureNames()));
  }
  ModelConfig config;
  config.architecture = std::string(row->name);
  config.text = std::string(config_json);
  ISTHMUS_RETURN_IF_ERROR(RefuseUnsupported(fields));
  ISTHMUS_RETURN_IF_ERROR(row->parse(fields, &config));
  ISTHMUS_RETURN_IF_ERROR(CheckHeads(fields, config));
  ISTHMUS_RETURN_IF_ERROR(CheckLayerTypes(fields, config));
  ISTHMUS_ASSIGN_OR_RETURN(config.initializer_range,
                           fields.Number("initializer_range", 0.0, 100.0, 0.02));
  ISTHMUS_RETURN_IF_ERROR(ParseSpecialIds(fields, &config));
  return config;
}

absl::Status AddGenerationConfig(absl::string_view generation_config_json, ModelConfig* config) {
  ISTHMUS_ASSIGN_OR_RETURN(const ConfigFields fields,
                           ConfigFields::Parse(generation_config_json, "generation_config.json"));
  return AddEosIds(fields, config);
}

std::vector<LinearName> BlockLinears(const ModelConfig& config) {
  return ArchitectureOf(config).linears(config);
}

std::string BlockPrefix(const ModelConfig& config, int64_t layer) {
  const Architecture& row = ArchitectureOf(config);
  return absl::StrCat(row.base, row.blocks, layer, ".");
}

std::vector<TensorInfo> ModelTensors(const ModelConfig& config) {
  const Architecture& row = ArchitectureOf(config);
  std::vector<TensorInfo> tensors;
  const int64_t width = config.hidden_size;
  AppendTensor(&tensors, absl::StrCat(row.base, row.embedding), {config.vocab_size, width}, 0, -1);
  if (config.positions == Positions::kLearned) {
    AppendTensor(&tensors, absl::StrCat(row.base, row.positions), {config.max_positions, width}, 0,
                 -1);
  }
  for (int64_t layer = 0; layer < config.num_layers; ++layer) AppendBlock(config, layer, &tensors);
  const int64_t norm_bias = config.norm == Norm::kLayerNorm ? width : 0;
  AppendTensor(&tensors, absl::StrCat(row.base, row.final_norm), {width}, norm_bias,
               config.num_layers);
  if (!config.tied_embeddings) {
    tensors.push_back({std::string(kHeadTensor), {config.vocab_size, width}, config.num_layers});
  }
  return tensors;
}

std::vector<std::string> DefaultLoraTargets(const ModelConfig& config) {
  const auto targets = ArchitectureOf(config).default_targets;
  return {targets.begin(), targets.end()};
}

}  // namespace isthmus
