#include "engine/edge/edge_stage_group.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "kernels/rows.h"

namespace isthmus::edge {

absl::StatusOr<std::unique_ptr<StageGroup>> EdgeStageGroup::Make(
    const ModelConfig& config, const TrainSpec& train, absl::Span<const LayerRange> ranges,
    WeightSource* weights, bool shared_embedding, int threads) {
  auto account = std::make_shared<MemoryAccount>(train.edge.memory_limit_bytes);
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<Weights> loaded,
                           Weights::Load(config, train, ranges, weights, account));
  auto group = std::unique_ptr<EdgeStageGroup>(
      new EdgeStageGroup(std::move(account), std::move(loaded), shared_embedding));
  const bool head =
      std::any_of(ranges.begin(), ranges.end(), [](const LayerRange& range) { return range.head; });
  group->work_ = std::make_unique<WorkSpace>(group->weights_.get(), head, threads, group->account_);
  for (const LayerRange& range : ranges) {
    group->stages_.push_back(
        std::make_unique<EdgeStage>(group->weights_.get(), group->work_.get(), range));
  }
  return group;
}

absl::StatusOr<std::vector<StageGroup::NamedSquare>> EdgeStageGroup::GradientSquares() {
  std::vector<NamedSquare> squares;
  for (TrainedTensor& tensor : trained().tensors()) {
    const float* gradient = TrainedTensors::SumGradients(&tensor);
    squares.push_back({tensor.name, kernels::SumOfSquares(gradient, tensor.count)});
  }
  return squares;
}

absl::StatusOr<Tensor> EdgeStageGroup::SharedGradient() {
  TrainedTensor* tied = shared();
  if (tied == nullptr) return Tensor();
  Tensor copy(DType::kF32, tied->shape);
  std::memcpy(copy.mutable_data(), TrainedTensors::SumGradients(tied),
              static_cast<size_t>(tied->count) * sizeof(float));
  return copy;
}

absl::Status EdgeStageGroup::SetSharedGradient(const Tensor& sum) {
  TrainedTensor* tied = shared();
  if (tied == nullptr) {
    return absl::FailedPreconditionError(
        "shared gradient: expected a tensor held by two parties, got none (stage group)");
  }
  if (sum.dtype() != DType::kF32 || sum.shape() != tied->shape) {
    return InvalidArgument("shared gradient: expected F32 ", ToString(tied->shape), ", got ",
                           Name(sum.dtype()), " ", ToString(sum.shape()), " (", tied->name, ")");
  }
  std::memcpy(TrainedTensors::SumGradients(tied), sum.data(),
              static_cast<size_t>(tied->count) * sizeof(float));
  return absl::OkStatus();
}

absl::Status EdgeStageGroup::Step(double lr, double gradient_scale) {
  trained().Step(lr, gradient_scale);
  return absl::OkStatus();
}

std::vector<TensorHeader> EdgeStageGroup::OptimizerHeaders() const {
  return trained().OptimizerHeaders();
}

}  // namespace isthmus::edge
