#include "model/adapter.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "model/config_fields.h"
#include "model/convert.h"
#include "model/safetensors.h"

namespace isthmus {
namespace {

constexpr char kConfigFile[] = "adapter_config.json";
constexpr char kWeightsFile[] = "adapter_model.safetensors";
constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
constexpr int64_t kMaxRank = int64_t{1} << 16;

bool Matches(const LinearName& linear, absl::string_view target) {
  return linear.module == target || absl::EndsWith(linear.module, absl::StrCat(".", target));
}

std::vector<std::string> LeafNames(const ModelConfig& config) {
  std::vector<std::string> leaves;
  std::set<std::string> seen;
  for (const LinearName& linear : BlockLinears(config)) {
    if (seen.insert(linear.leaf).second) leaves.push_back(linear.leaf);
  }
  return leaves;
}

// Ways of initialising that leave the base as it is. The others (PiSSA, OLoRA, LoftQ, CorDA)
// subtract from it, so that their adapters mean something only together with the changed base.
absl::Status CheckInitialisation(const ConfigFields& fields) {
  if (!fields.Has("init_lora_weights") || fields.json()["init_lora_weights"].is_boolean()) {
    return absl::OkStatus();
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::string init, fields.Text("init_lora_weights"));
  if (init == "gaussian" || init == "eva" || init == "orthogonal") return absl::OkStatus();
  return fields.Expected("init_lora_weights", "true, false, gaussian, eva or orthogonal");
}

absl::Status CheckPeftKind(const ConfigFields& fields) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string type, fields.Text("peft_type"));
  if (type != "LORA") return fields.Expected("peft_type", "LORA");
  ISTHMUS_ASSIGN_OR_RETURN(const std::string task, fields.Text("task_type", "CAUSAL_LM"));
  if (task != "CAUSAL_LM") return fields.Expected("task_type", "CAUSAL_LM");
  ISTHMUS_ASSIGN_OR_RETURN(const std::string bias, fields.Text("bias", "none"));
  if (bias != "none") return fields.Expected("bias", "none");
  ISTHMUS_RETURN_IF_ERROR(CheckInitialisation(fields));
  return fields.RefuseFeatures({"modules_to_save", "use_dora", "rank_pattern", "alpha_pattern",
                                "layers_to_transform", "layer_replication", "lora_bias",
                                "trainable_token_indices", "exclude_modules", "target_parameters",
                                "use_qalora", "alora_invocation_tokens", "arrow_config"});
}

absl::StatusOr<std::vector<std::string>> ParseTargets(const ConfigFields& fields,
                                                      const ModelConfig& config) {
  if (fields.IsText("target_modules")) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string text, fields.Text("target_modules"));
    if (text == "all-linear") return LeafNames(config);
  }
  absl::StatusOr<std::vector<std::string>> targets = fields.Texts("target_modules");
  if (!targets.ok() || targets->empty()) {
    return fields.Expected("target_modules", "a list of names or all-linear (no pattern)");
  }
  return targets;
}

absl::StatusOr<Adapter> ParseAdapterConfig(const std::string& text, const ModelConfig& config) {
  ISTHMUS_ASSIGN_OR_RETURN(const ConfigFields fields, ConfigFields::Parse(text, kConfigFile));
  ISTHMUS_RETURN_IF_ERROR(CheckPeftKind(fields));
  Adapter adapter;
  ISTHMUS_ASSIGN_OR_RETURN(adapter.base_model, fields.Text("base_model_name_or_path", ""));
  ISTHMUS_ASSIGN_OR_RETURN(adapter.lora.rank, fields.Int("r", 1, kMaxRank, 8));
  ISTHMUS_ASSIGN_OR_RETURN(adapter.lora.alpha, fields.Number("lora_alpha", 0.0, 1e9, 8.0));
  ISTHMUS_ASSIGN_OR_RETURN(adapter.lora.dropout, fields.Number("lora_dropout", 0.0, 1.0, 0.0));
  ISTHMUS_ASSIGN_OR_RETURN(adapter.lora.use_rslora, fields.Flag("use_rslora", false));
  ISTHMUS_ASSIGN_OR_RETURN(adapter.lora.targets, ParseTargets(fields, config));
  return adapter;
}

// Every tensor of `wanted` with its shape, and nothing else.
absl::Status TakeTensors(const std::vector<TensorInfo>& wanted,
                         const std::map<std::string, Tensor>& stored,
                         std::vector<NamedTensor>* tensors) {
  std::set<std::string> names;
  for (const TensorInfo& info : wanted) {
    names.insert(info.name);
    const auto it = stored.find(info.name);
    if (it == stored.end()) {
      return InvalidArgument("tensor \"", info.name, "\": expected ", ToString(info.shape),
                             ", got nothing");
    }
    if (it->second.shape() != info.shape) {
      return InvalidArgument("tensor \"", info.name, "\": expected ", ToString(info.shape),
                             ", got ", ToString(it->second.shape()));
    }
    absl::StatusOr<Tensor> values = ToF32(it->second);
    if (!values.ok()) {
      return Annotate(values.status(), absl::StrCat("tensor \"", info.name, "\""));
    }
    tensors->push_back({info.name, *std::move(values)});
  }
  for (const auto& [name, tensor] : stored) {
    if (names.count(name) == 0) {
      return InvalidArgument("tensor \"", name,
                             "\": expected none of that name with these target_modules, got ",
                             ToString(tensor.shape()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Adapter> ReadParts(const std::string& directory, const ModelConfig& config) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    return NotFound("adapter: expected a folder with ", kConfigFile, ", got ",
                    fs::exists(directory, error) ? "a file" : "nothing");
  }
  const fs::path folder(directory);
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile((folder / kConfigFile).string(), kMaxConfigBytes));
  ISTHMUS_ASSIGN_OR_RETURN(Adapter adapter, ParseAdapterConfig(text, config));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<TensorInfo> wanted,
                           AdapterTensors(config, adapter.lora));
  const bool pickled =
      !fs::exists(folder / kWeightsFile, error) && fs::exists(folder / "adapter_model.bin", error);
  if (pickled) return NotFound("weights: expected ", kWeightsFile, ", got adapter_model.bin");
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const Safetensors> file,
                           Safetensors::Open((folder / kWeightsFile).string()));
  ISTHMUS_RETURN_IF_ERROR(TakeTensors(wanted, file->tensors(), &adapter.tensors));
  return adapter;
}

// Every tensor of `wanted`, in that order.
absl::Status CheckHeaders(const std::vector<TensorInfo>& wanted,
                          const std::vector<TensorHeader>& headers) {
  if (headers.size() != wanted.size())
    return InvalidArgument("adapter: expected ", wanted.size(), " tensors, got ", headers.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (headers[i].name != wanted[i].name || headers[i].shape != wanted[i].shape)
      return InvalidArgument("adapter: expected ", wanted[i].name, " ", ToString(wanted[i].shape),
                             ", got ", headers[i].name, " ", ToString(headers[i].shape));
  }
  return absl::OkStatus();
}

std::string AdapterConfigText(const ModelConfig& config, const LoraSpec& lora,
                              const std::string& base_model) {
  nlohmann::ordered_json json;
  json["peft_type"] = "LORA";
  json["task_type"] = "CAUSAL_LM";
  json["auto_mapping"] = nullptr;
  json["base_model_name_or_path"] = base_model;
  json["revision"] = nullptr;
  json["inference_mode"] = true;
  json["r"] = lora.rank;
  if (lora.alpha == std::floor(lora.alpha) && lora.alpha < 1e15) {
    json["lora_alpha"] = static_cast<int64_t>(lora.alpha);
  } else {
    json["lora_alpha"] = lora.alpha;
  }
  json["lora_dropout"] = lora.dropout;
  json["target_modules"] = lora.targets.empty() ? DefaultLoraTargets(config) : lora.targets;
  json["bias"] = "none";
  json["fan_in_fan_out"] = config.transposed_linear;
  json["use_rslora"] = lora.use_rslora;
  json["init_lora_weights"] = true;
  json["modules_to_save"] = nullptr;
  json["layers_to_transform"] = nullptr;
  json["layers_pattern"] = nullptr;
  json["rank_pattern"] = nlohmann::ordered_json::object();
  json["alpha_pattern"] = nlohmann::ordered_json::object();
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

double LoraSpec::scale() const {
  const auto r = static_cast<double>(rank);
  return use_rslora ? alpha / std::sqrt(r) : alpha / r;
}

absl::StatusOr<std::vector<LinearName>> LoraLinears(const ModelConfig& config,
                                                    const LoraSpec& lora) {
  const std::vector<std::string> targets =
      lora.targets.empty() ? DefaultLoraTargets(config) : lora.targets;
  const std::vector<LinearName> linears = BlockLinears(config);
  std::vector<bool> chosen(linears.size(), false);
  for (const std::string& target : targets) {
    bool found = false;
    for (size_t i = 0; i < linears.size(); ++i) {
      if (!Matches(linears[i], target)) continue;
      chosen[i] = found = true;
    }
    if (!found) {
      return InvalidArgument("lora targets: expected some of ",
                             absl::StrJoin(LeafNames(config), ", "), ", got ", Excerpt(target));
    }
  }
  std::vector<LinearName> result;
  for (size_t i = 0; i < linears.size(); ++i) {
    if (chosen[i]) result.push_back(linears[i]);
  }
  return result;
}

std::string LoraTensorName(const ModelConfig& config, int64_t layer, const std::string& module,
                           char which) {
  return absl::StrCat("base_model.model.", BlockPrefix(config, layer), module, ".lora_",
                      absl::string_view(&which, 1), ".weight");
}

absl::StatusOr<std::vector<TensorInfo>> AdapterTensors(const ModelConfig& config,
                                                       const LoraSpec& lora) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<LinearName> linears, LoraLinears(config, lora));
  std::vector<TensorInfo> tensors;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (const LinearName& linear : linears) {
      tensors.push_back(
          {LoraTensorName(config, layer, linear.module, 'A'), {lora.rank, linear.in}, layer});
      tensors.push_back(
          {LoraTensorName(config, layer, linear.module, 'B'), {linear.out, lora.rank}, layer});
    }
  }
  return tensors;
}

absl::StatusOr<Adapter> ReadAdapter(const std::string& directory, const ModelConfig& config) {
  absl::StatusOr<Adapter> adapter = ReadParts(directory, config);
  if (adapter.ok()) return adapter;
  return absl::Status(adapter.status().code(),
                      absl::StrCat(adapter.status().message(), " (", directory, ")"));
}

absl::Status WriteAdapter(const std::string& directory, const ModelConfig& config,
                          const LoraSpec& lora, const std::string& base_model,
                          const TensorStream& tensors) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<TensorInfo> wanted, AdapterTensors(config, lora));
  ISTHMUS_RETURN_IF_ERROR(Annotate(CheckHeaders(wanted, tensors.headers), directory));
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(directory));
  const std::filesystem::path folder(directory);
  ISTHMUS_RETURN_IF_ERROR(WriteSafetensors((folder / kWeightsFile).string(), tensors.headers,
                                           tensors.load, {{"format", "pt"}}));
  return WriteFileAtomic((folder / kConfigFile).string(),
                         AdapterConfigText(config, lora, base_model));
}

absl::Status WriteAdapter(const std::string& directory, const ModelConfig& config,
                          const Adapter& adapter) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<TensorInfo> wanted,
                           AdapterTensors(config, adapter.lora));
  std::map<std::string, Tensor> given;
  for (const NamedTensor& t : adapter.tensors) given[t.name] = t.tensor;
  std::vector<NamedTensor> tensors;
  ISTHMUS_RETURN_IF_ERROR(Annotate(TakeTensors(wanted, given, &tensors), directory));
  return WriteAdapter(directory, config, adapter.lora, adapter.base_model,
                      StreamOf(std::move(tensors)));
}

}  // namespace isthmus
