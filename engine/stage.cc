#include "engine/stage.h"

#include <algorithm>
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

absl::Status StageGroup::Move(const Probe& probe, double scale) {
  if (!unmoved_.empty())
    return absl::FailedPreconditionError("probe: expected values where they were, got moved ones");
  ISTHMUS_ASSIGN_OR_RETURN(unmoved_, Trained());
  for (const NamedTensor& tensor : unmoved_) {
    Tensor moved(DType::kF32, tensor.tensor.shape());
    MoveAlong(probe, tensor.name, scale, tensor.tensor.floats(), moved.mutable_floats());
    ISTHMUS_RETURN_IF_ERROR(WriteState(tensor.name, moved));
  }
  return absl::OkStatus();
}

absl::Status StageGroup::MoveBack() { return SetTrained(std::exchange(unmoved_, {})); }

absl::Status StageGroup::Descend(const Descent& descent) {
  for (const TensorHeader& header : TrainedHeaders()) {
    ISTHMUS_ASSIGN_OR_RETURN(const Tensor tensor, ReadState(header.name));
    Tensor values(DType::kF32, header.shape);
    std::copy(tensor.floats().begin(), tensor.floats().end(), values.mutable_floats().begin());
    isthmus::Descend(descent, header.name, values.mutable_floats());
    ISTHMUS_RETURN_IF_ERROR(WriteState(header.name, values));
  }
  return absl::OkStatus();
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
