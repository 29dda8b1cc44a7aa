#include "worker/weights.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "model/safetensors.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> CandidateFolders(const std::string& model_root) {
  std::vector<std::string> folders = {model_root};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(model_root, error))
    if (entry.is_directory(error)) folders.push_back(entry.path().string());
  std::sort(folders.begin(), folders.end());
  return folders;
}

// Tensors as one-tensor safetensors files under cache_dir/CONTENT/; a damaged file is fetched
// again.
class CachedWeights : public WeightSource {
 public:
  CachedWeights(std::string folder, int64_t limit_bytes, FetchTensor fetch)
      : folder_(std::move(folder)), limit_bytes_(limit_bytes), fetch_(std::move(fetch)) {}

  absl::StatusOr<Tensor> Load(const std::string& name) override {
    if (!folder_.empty()) {
      if (absl::StatusOr<Tensor> kept = FromCache(name); kept.ok()) return kept;
    }
    ISTHMUS_ASSIGN_OR_RETURN(Tensor tensor, fetch_(name));
    if (!folder_.empty()) Keep(name, tensor);
    return tensor;
  }

 private:
  std::string PathOf(const std::string& name) const {
    return absl::StrFormat("%s/%016x.safetensors", folder_, Hash64(name));
  }

  absl::StatusOr<Tensor> FromCache(const std::string& name) const {
    ISTHMUS_ASSIGN_OR_RETURN(const auto file, Safetensors::Open(PathOf(name)));
    const auto it = file->tensors().find(name);
    if (it == file->tensors().end()) return NotFound(name);
    const std::string checksum = absl::StrFormat("%016x", Hash64(it->second.bytes()));
    const auto said = file->metadata().find("hash");
    if (said == file->metadata().end() || said->second != checksum)
      return DataLoss(name, ": cache file damaged");
    std::error_code error;
    fs::last_write_time(PathOf(name), fs::file_time_type::clock::now(),
                        error);  // least recently used order
    return it->second;
  }

  void Keep(const std::string& name, const Tensor& tensor) const {
    MakeRoom(tensor.num_bytes());
    const NamedTensor named{name, tensor};
    absl::Status status = MakeDirectories(folder_);
    if (status.ok())
      status = WriteSafetensors(PathOf(name), {&named, 1},
                                {{"hash", absl::StrFormat("%016x", Hash64(tensor.bytes()))}});
    // Without a cache the run goes on; the next start fetches again.
    if (!status.ok()) LogWarning("worker", "weight cache: ", status.message());
  }

  void MakeRoom(int64_t bytes) const {
    if (limit_bytes_ <= 0) return;
    std::vector<std::pair<fs::file_time_type, fs::path>> files;
    int64_t total = bytes;
    std::error_code error;
    for (const auto& entry :
         fs::recursive_directory_iterator(fs::path(folder_).parent_path(), error)) {
      if (!entry.is_regular_file(error)) continue;
      total += static_cast<int64_t>(entry.file_size(error));
      files.emplace_back(entry.last_write_time(error), entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const auto& [time, path] : files) {
      if (total <= limit_bytes_) return;
      total -= static_cast<int64_t>(fs::file_size(path, error));
      fs::remove(path, error);  // a map of it stays valid
    }
  }

  const std::string folder_;
  const int64_t limit_bytes_;
  const FetchTensor fetch_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelDirectory>> FindModel(const std::string& model_root,
                                                          const v1::ModelRef& model,
                                                          Engine* engine) {
  if (model_root.empty()) return nullptr;
  for (const std::string& folder : CandidateFolders(model_root)) {
    std::error_code error;
    if (!fs::exists(fs::path(folder) / "config.json", error)) continue;
    absl::StatusOr<std::unique_ptr<ModelDirectory>> opened =
        engine->OpenModel(folder, /*weights=*/true);
    // Other models, and broken ones, are not this job's business. The text is compared first: a
    // checksum reads every byte.
    if (!opened.ok() || (*opened)->config().text != model.config_json()) continue;
    const absl::StatusOr<std::string> id = (*opened)->ContentId();
    if (id.ok() && *id == model.content_id()) return opened;
  }
  return nullptr;
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenWeights(const v1::ModelRef& model,
                                                          const ModelConfig& config,
                                                          const WeightPlaces& places,
                                                          Engine* engine, FetchTensor fetch) {
  if (model.init_random()) return RandomWeights(config, model.init_seed());
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<ModelDirectory> found,
                           FindModel(places.model_root, model, engine));
  if (found != nullptr) {
    LogInfo("worker", "model ", model.name(), " found at ", found->path());
    return std::unique_ptr<WeightSource>(std::move(found));
  }
  LogInfo("worker", "model ", model.name(),
          " is not under the model root: its tensors come from the client");
  std::string folder;
  if (!places.cache_dir.empty())
    folder = absl::StrFormat("%s/%016x", places.cache_dir, Hash64(model.content_id()));
  return std::unique_ptr<WeightSource>(
      std::make_unique<CachedWeights>(folder, places.cache_limit_bytes, std::move(fetch)));
}

}  // namespace isthmus
