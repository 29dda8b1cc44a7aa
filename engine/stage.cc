#include "engine/stage.h"

#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/done_reading.h"
#include "base/status.h"

namespace isthmus {

int64_t MicroBatch::tokens() const {
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

absl::StatusOr<std::unique_ptr<ModelDirectory>> Engine::OpenModel(const std::string& path,
                                                                  bool weights) {
  return ModelDirectory::Open(path, weights);
}

absl::StatusOr<MemoryPlan> Engine::PlanMemory(const ModelConfig&, const TrainSpec&,
                                              absl::Span<const LayerRange>, bool) {
  return MemoryPlan();
}

std::string EngineWord(const Engine& engine) {
  const std::string name = engine.name();
  return name.substr(0, name.find(' '));
}

absl::StatusOr<std::vector<NamedTensor>> StageGroup::ReadAll(
    const std::vector<TensorHeader>& headers) {
  std::vector<NamedTensor> tensors;
  for (const TensorHeader& header : headers) {
    ISTHMUS_ASSIGN_OR_RETURN(Tensor tensor, ReadState(header.name));
    tensors.push_back({header.name, std::move(tensor)});
  }
  return tensors;
}

absl::Status StageGroup::WriteAll(const std::vector<TensorHeader>& headers,
                                  absl::Span<const NamedTensor> tensors) {
  std::map<absl::string_view, const Tensor*> by_name;
  for (const NamedTensor& tensor : tensors) by_name[tensor.name] = &tensor.tensor;
  for (const TensorHeader& header : headers) {
    const auto found = by_name.find(header.name);
    if (found == by_name.end())
      return NotFound(header.name, ": expected a tensor, got none (trained state)");
    if (found->second->shape() != header.shape)
      return InvalidArgument(header.name, ": expected shape ", ToString(header.shape), ", got ",
                             ToString(found->second->shape()), " (trained state)");
  }
  for (const TensorHeader& header : headers) {
    const Tensor& tensor = *by_name.at(header.name);
    ISTHMUS_RETURN_IF_ERROR(WriteState(header.name, tensor));
    DoneReading(tensor.bytes());
  }
  return absl::OkStatus();
}

}  // namespace isthmus
