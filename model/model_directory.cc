// The Hugging Face model directory: config.json, generation_config.json, model.safetensors or an
// index of shards.
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/status.h"
#include "model/architecture.h"
#include "model/content_id.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
constexpr int64_t kMaxIndexBytes = int64_t{100} << 20;
constexpr char kSingleFile[] = "model.safetensors";
constexpr char kPackedFile[] = "packed.safetensors";  // engine/edge/packed_model.h
constexpr char kIndexFile[] = "model.safetensors.index.json";

std::string Join(const std::string& folder, absl::string_view file) {
  return absl::StrCat(folder, "/", file);
}

bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

absl::StatusOr<ModelConfig> ReadConfig(const std::string& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (!fs::exists(status)) {
    return NotFound("model: expected a folder with config.json, got nothing (", folder, ")");
  }
  if (!fs::is_directory(status)) {
    return InvalidArgument("model: expected a folder with config.json, got a file (", folder, ")");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(Join(folder, "config.json"), kMaxConfigBytes));
  absl::StatusOr<ModelConfig> config = ParseModelConfig(text);
  if (!config.ok()) return Annotate(config.status(), folder);
  const std::string generation = Join(folder, "generation_config.json");
  if (Exists(generation)) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string more, ReadFile(generation, kMaxConfigBytes));
    const absl::Status added = AddGenerationConfig(more, &*config);
    if (!added.ok()) return Annotate(added, folder);
  }
  return config;
}

using TensorMap = std::map<std::string, Tensor>;

// Some files of GPT-2 (and bare decoders without a head) leave the base prefix out: "h.0.attn…" for
// "transformer.h.0.attn…".
std::string CanonicalName(const Architecture& row, const std::string& stored) {
  if (absl::StartsWith(stored, row.base) || absl::StartsWith(stored, "lm_head.")) return stored;
  return absl::StrCat(row.base, stored);
}

absl::Status AddTensors(const Architecture& row, const std::string& path, TensorMap* tensors) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const Safetensors> file, Safetensors::Open(path));
  for (const auto& [stored, tensor] : file->tensors()) {
    if (!tensors->emplace(CanonicalName(row, stored), tensor).second) {
      return InvalidArgument("tensor \"", stored, "\": expected once, got twice (", path, ")");
    }
  }
  return absl::OkStatus();
}

// The files that weight_map names, each once. They must lie in the folder itself.
absl::StatusOr<std::set<std::string>> ReadIndex(const std::string& folder) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(Join(folder, kIndexFile), kMaxIndexBytes));
  ISTHMUS_ASSIGN_OR_RETURN(const ConfigFields index,
                           ConfigFields::Parse(text, Join(folder, kIndexFile)));
  if (!index.Has("weight_map") || !index.json()["weight_map"].is_object() ||
      index.json()["weight_map"].empty()) {
    return index.Expected("weight_map", "an object of tensor names and files");
  }
  std::set<std::string> files;
  for (const auto& [name, file] : index.json()["weight_map"].items()) {
    if (!file.is_string()) return index.Expected("weight_map", "file names");
    const std::string& text = file.get_ref<const std::string&>();
    if (text.empty() || text.find('/') != std::string::npos || text[0] == '.') {
      return InvalidArgument("weight_map: expected files in the folder of the index, got ",
                             Excerpt(file), " (", Join(folder, kIndexFile), ")");
    }
    files.insert(text);
  }
  return files;
}

absl::StatusOr<TensorMap> ReadTensors(const std::string& folder, const Architecture& row) {
  TensorMap tensors;
  if (Exists(Join(folder, kSingleFile))) {
    ISTHMUS_RETURN_IF_ERROR(AddTensors(row, Join(folder, kSingleFile), &tensors));
    return tensors;
  }
  if (!Exists(Join(folder, kIndexFile))) {
    if (Exists(Join(folder, kPackedFile))) {
      return InvalidArgument("weights: expected ", kSingleFile, " or ", kIndexFile, ", got ",
                             kPackedFile, ", which --engine edge computes from (", folder, ")");
    }
    return NotFound("weights: expected ", kSingleFile, " or ", kIndexFile, ", got ",
                    Exists(Join(folder, "pytorch_model.bin")) ? "pytorch_model.bin" : "neither",
                    " (", folder, ")");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::set<std::string> files, ReadIndex(folder));
  for (const std::string& file : files) {
    ISTHMUS_RETURN_IF_ERROR(AddTensors(row, Join(folder, file), &tensors));
  }
  return tensors;
}

bool IsHarmless(const Architecture& row, const ModelConfig& config, const std::string& name) {
  if (config.tied_embeddings && name == kHeadTensor) return true;
  for (absl::string_view suffix : row.buffers) {
    if (absl::EndsWith(name, suffix)) return true;
  }
  return false;
}

// Every tensor of the model with its shape and a floating dtype; nothing else but known buffers,
// which are dropped.
absl::Status CheckTensors(const std::string& folder, const ModelConfig& config,
                          TensorMap* tensors) {
  TensorMap wanted;
  for (const TensorInfo& info : ModelTensors(config)) {
    const auto it = tensors->find(info.name);
    if (it == tensors->end()) {
      return InvalidArgument("tensor \"", info.name, "\": expected ", ToString(info.shape),
                             ", got nothing (", folder, ")");
    }
    const Tensor& tensor = it->second;
    const bool floating = tensor.dtype() == DType::kF32 || tensor.dtype() == DType::kF16 ||
                          tensor.dtype() == DType::kBF16;
    if (tensor.shape() != info.shape || !floating) {
      return InvalidArgument("tensor \"", info.name, "\": expected F32, F16 or BF16 ",
                             ToString(info.shape), ", got ", Name(tensor.dtype()), " ",
                             ToString(tensor.shape()), " (", folder, ")");
    }
    wanted.insert(tensors->extract(it));
  }
  for (const auto& [name, tensor] : *tensors) {
    if (!IsHarmless(ArchitectureOf(config), config, name)) {
      return InvalidArgument("tensor \"", name, "\": expected none of that name in a ",
                             config.architecture, " model of ", config.num_layers, " layers, got ",
                             Name(tensor.dtype()), " ", ToString(tensor.shape()), " (", folder,
                             ")");
    }
  }
  *tensors = std::move(wanted);
  return absl::OkStatus();
}

class LocalDirectory : public ModelDirectory {
 public:
  LocalDirectory(std::string path, ModelConfig config, TensorMap tensors)
      : path_(std::move(path)), config_(std::move(config)), tensors_(std::move(tensors)) {}

  absl::StatusOr<Tensor> Load(const std::string& name) override {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      return NotFound("tensor \"", name, "\": expected in the model, got nothing (", path_, ")");
    }
    return it->second;
  }

  const ModelConfig& config() const override { return config_; }
  const std::string& path() const override { return path_; }

  DType stored_dtype() const override {
    const LinearName first = BlockLinears(config_).front();
    const auto it = tensors_.find(absl::StrCat(BlockPrefix(config_, 0), first.module, ".weight"));
    return it == tensors_.end() ? DType::kF32 : it->second.dtype();
  }

  absl::StatusOr<std::string> ContentId() override {
    if (content_id_.empty()) {
      ISTHMUS_ASSIGN_OR_RETURN(content_id_, ComputeContentId(config_, this));
    }
    return content_id_;
  }

 private:
  std::string path_;
  ModelConfig config_;
  TensorMap tensors_;
  std::string content_id_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelDirectory>> ModelDirectory::Open(const std::string& path,
                                                                     bool weights) {
  ISTHMUS_ASSIGN_OR_RETURN(ModelConfig config, ReadConfig(path));
  TensorMap tensors;
  if (weights) {
    ISTHMUS_ASSIGN_OR_RETURN(tensors, ReadTensors(path, ArchitectureOf(config)));
    ISTHMUS_RETURN_IF_ERROR(CheckTensors(path, config, &tensors));
  }
  return std::unique_ptr<ModelDirectory>(
      new LocalDirectory(path, std::move(config), std::move(tensors)));
}

}  // namespace isthmus
