// isthmus inspect: what a checkpoint, a model folder, an adapter, a safetensors file or a folder of
// captured edges holds.
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/dump_folder.h"
#include "cli/output.h"
#include "client/run_output_checkpoint.h"
#include "model/safetensors.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

bool Holds(const std::string& folder, const char* name) {
  std::error_code error;
  return fs::exists(fs::path(folder) / name, error);
}

std::string TensorTable(const std::vector<NamedTensor>& tensors) {
  std::vector<std::vector<std::string>> rows = {{"tensor", "dtype", "shape", "bytes"}};
  int64_t bytes = 0;
  for (const NamedTensor& named : tensors) {
    bytes += named.tensor.num_bytes();
    rows.push_back({named.name, std::string(Name(named.tensor.dtype())),
                    ToString(named.tensor.shape()), absl::StrCat(named.tensor.num_bytes())});
  }
  return absl::StrCat(Table(rows), tensors.size(), " tensors, ", bytes, " bytes\n");
}

absl::StatusOr<std::string> ShowTensorFile(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto file, Safetensors::Open(path));
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : file->tensors()) tensors.push_back({name, tensor});
  return TensorTable(tensors);
}

absl::StatusOr<std::string> ShowCheckpoint(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpoint(path));
  std::string text =
      absl::StrCat("checkpoint after step ", checkpoint.step, ", every checksum right\n");
  for (const auto& [party, hash] : checkpoint.codec_hashes) {
    absl::StrAppend(&text, "codec state of party ", party, ": ", hash.empty() ? "none" : hash,
                    "\n");
  }
  return absl::StrCat(text, TensorTable(checkpoint.trained),
                      "optimizer state: ", checkpoint.optimizer.size(), " tensors\n");
}

absl::StatusOr<std::string> ShowAdapter(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string config, ReadFile(path + "/adapter_config.json"));
  const auto json = nlohmann::ordered_json::parse(config, nullptr, false);
  if (!json.is_object())
    return InvalidArgument(path, "/adapter_config.json: expected a JSON object");
  ISTHMUS_ASSIGN_OR_RETURN(const std::string tensors,
                           ShowTensorFile(path + "/adapter_model.safetensors"));
  return absl::StrCat("PEFT adapter\n", json.dump(2), "\n", tensors);
}

absl::StatusOr<std::string> ShowModel(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto directory, ModelDirectory::Open(path));
  const ModelConfig& config = directory->config();
  int64_t parameters = 0;
  for (const TensorInfo& tensor : ModelTensors(config)) {
    int64_t size = 1;
    for (const int64_t dim : tensor.shape) size *= dim;
    parameters += size;
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::string id, directory->ContentId());
  return absl::StrFormat(
      "model %s: %d blocks, width %d, %d heads (%d key-value), feed-forward %d, vocabulary %d, "
      "context %d%s\n"
      "%d parameters, stored as %s\ncontent %s\n",
      config.architecture, config.num_layers, config.hidden_size, config.num_heads,
      config.num_kv_heads, config.intermediate_size, config.vocab_size, config.max_positions,
      config.tied_embeddings ? ", tied embeddings" : "", parameters,
      Name(directory->stored_dtype()), id);
}

absl::StatusOr<std::string> ShowDump(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<DumpedEdge> edges, ReadDumpFolder(path));
  std::vector<std::vector<std::string>> rows = {{"edge", "frames", "tokens", "width", "steps"}};
  for (const DumpedEdge& edge : edges) {
    size_t elements = 0;
    for (const CapturedFrame& frame : edge.capture.frames) elements += frame.x_TD.size();
    rows.push_back(
        {edge.name, absl::StrCat(edge.capture.frames.size()),
         absl::StrCat(elements / static_cast<size_t>(edge.capture.width)),
         absl::StrCat(edge.capture.width),
         absl::StrCat(edge.capture.frames.front().step, " to ", edge.capture.frames.back().step)});
  }
  return absl::StrCat("captured edges\n", Table(rows));
}

absl::StatusOr<std::string> Show(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error))
    return NotFound(path, ": expected a file or folder, got nothing there");
  if (!fs::is_directory(path, error)) {
    if (absl::EndsWith(path, ".safetensors")) return ShowTensorFile(path);
    return InvalidArgument(path, ": expected a .safetensors file or a folder, got another file");
  }
  if (Holds(path, "manifest.json")) return ShowCheckpoint(path);
  if (Holds(path, "adapter_config.json")) return ShowAdapter(path);
  if (Holds(path, "config.json")) return ShowModel(path);
  if (IsDumpFolder(path)) return ShowDump(path);
  return InvalidArgument(
      path,
      ": expected a checkpoint, an adapter, a model or captured edges, got another "
      "folder");
}

absl::Status RunInspect(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, Show(in.arguments()[0]));
  Print(text);
  return absl::OkStatus();
}

}  // namespace

CliCommand InspectCommand() {
  return {.name = "inspect",
          .arguments = "FILE-OR-DIR",
          .least_arguments = 1,
          .most_arguments = 1,
          .summary = "what a checkpoint, model, adapter, safetensors file or capture holds",
          .run = RunInspect};
}

}  // namespace isthmus
