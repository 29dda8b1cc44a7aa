#include "engine/torch/torch_stage_group.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "engine/torch/convert.h"
#include "engine/torch/guard.h"

namespace isthmus {
namespace {

constexpr char kSteps[] = "step";  // how many updates were made, among the optimizer's state

std::string StateName(const Optimizer::State& state, const TrainedTensor& tensor) {
  return absl::StrCat(state.name, "/", tensor.name);
}

absl::Status NotHeld(const std::string& name) {
  return NotFound(name, ": expected a tensor of the trained state, got another name");
}

}  // namespace

absl::StatusOr<std::unique_ptr<StageGroup>> TorchStageGroup::Make(
    const ModelConfig& config, const TrainSpec& train, absl::Span<const LayerRange> ranges,
    WeightSource* weights, bool shared_embedding, const at::Device& device) {
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<Parameters> parameters,
                           Parameters::Load(config, train, ranges, weights, device));
  std::vector<at::Tensor> values;
  for (const TrainedTensor& tensor : parameters->trained()) values.push_back(tensor.value);
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<Optimizer> optimizer,
                           Optimizer::Make(train.optimizer, values));
  auto group = std::unique_ptr<TorchStageGroup>(
      new TorchStageGroup(std::move(parameters), std::move(optimizer), shared_embedding));
  for (const LayerRange& range : ranges) {
    group->stages_.push_back(std::make_unique<TorchStage>(group->parameters_.get(), range));
  }
  return group;
}

void TorchStageGroup::ZeroGradients() {
  for (TrainedTensor& tensor : parameters_->trained()) tensor.ClearGradient();
}

absl::StatusOr<std::vector<StageGroup::NamedSquare>> TorchStageGroup::GradientSquares() {
  return Guard([&]() -> absl::StatusOr<std::vector<NamedSquare>> {
    at::NoGradGuard no_grad;
    std::vector<NamedSquare> squares;
    for (const TrainedTensor& tensor : parameters_->trained()) {
      const at::Tensor grad = tensor.Gradient();
      double norm = 0.0;
      if (grad.defined()) {
        norm = at::linalg_vector_norm(grad, 2, at::nullopt, false, at::kDouble).item<double>();
      }
      squares.push_back({tensor.name, norm * norm});
    }
    return squares;
  });
}

absl::StatusOr<Tensor> TorchStageGroup::SharedGradient() {
  return Guard([&]() -> absl::StatusOr<Tensor> {
    TrainedTensor* tied = shared_embedding_ ? parameters_->tied() : nullptr;
    if (tied == nullptr) return Tensor();
    at::NoGradGuard no_grad;
    const at::Tensor grad = tied->Gradient();
    return CopyToBytes(grad.defined() ? grad : at::zeros_like(tied->value));
  });
}

absl::Status TorchStageGroup::SetSharedGradient(const Tensor& sum) {
  TrainedTensor* tied = shared_embedding_ ? parameters_->tied() : nullptr;
  if (tied == nullptr) {
    return absl::FailedPreconditionError(
        "shared gradient: expected a tensor held by two parties, got none (stage group)");
  }
  const Shape expected = tied->value.sizes().vec();
  if (sum.dtype() != DType::kF32 || sum.shape() != expected) {
    return InvalidArgument("shared gradient: expected F32 ", ToString(expected), ", got ",
                           Name(sum.dtype()), " ", ToString(sum.shape()), " (", tied->name, ")");
  }
  return Guard([&] {
    at::NoGradGuard no_grad;
    tied->ClearGradient();
    // A copy: the optimizer scales gradients in place.
    tied->leaves[0].mutable_grad() =
        FromBytes(sum, at::kFloat, at::kCPU).clone().to(tied->value.device());
    return absl::OkStatus();
  });
}

// A tensor that no micro-batch reached has gradient zero: moments decay and weight decay applies,
// as at every other party.
absl::Status TorchStageGroup::Step(double lr, double gradient_scale) {
  return Guard([&] {
    at::NoGradGuard no_grad;
    optimizer_->BeginStep();
    std::vector<TrainedTensor>& trained = parameters_->trained();
    for (size_t i = 0; i < trained.size(); ++i) {
      at::Tensor grad = trained[i].Gradient();
      if (!grad.defined()) grad = at::zeros_like(trained[i].value);
      optimizer_->Update(i, trained[i].value, grad.contiguous(), lr, gradient_scale);
      trained[i].ClearGradient();
    }
    return absl::OkStatus();
  });
}

std::vector<TensorHeader> TorchStageGroup::TrainedHeaders() const {
  std::vector<TensorHeader> headers;
  for (const TrainedTensor& tensor : parameters_->trained())
    headers.push_back({tensor.name, DType::kF32, tensor.value.sizes().vec()});
  return headers;
}

std::vector<TensorHeader> TorchStageGroup::OptimizerHeaders() const {
  std::vector<TensorHeader> headers;
  for (const Optimizer::State& state : optimizer_->state()) {
    for (const TrainedTensor& tensor : parameters_->trained())
      headers.push_back({StateName(state, tensor), DType::kF32, tensor.value.sizes().vec()});
  }
  headers.push_back({kSteps, DType::kI64, {1}});
  return headers;
}

at::Tensor TorchStageGroup::FindState(const std::string& name) const {
  const std::vector<TrainedTensor>& trained = parameters_->trained();
  for (size_t i = 0; i < trained.size(); ++i) {
    if (!absl::EndsWith(name, trained[i].name)) continue;
    if (name == trained[i].name) return trained[i].value;
    for (const Optimizer::State& state : optimizer_->state())
      if (name == StateName(state, trained[i])) return state.tensors[i];
  }
  return at::Tensor();
}

absl::StatusOr<Tensor> TorchStageGroup::ReadState(const std::string& name) {
  if (name == kSteps) {
    Tensor steps(DType::kI64, {1});
    *static_cast<int64_t*>(steps.mutable_data()) = optimizer_->steps();
    return steps;
  }
  return Guard([&]() -> absl::StatusOr<Tensor> {
    const at::Tensor found = FindState(name);
    if (!found.defined()) return NotHeld(name);
    return CopyToBytes(found);
  });
}

absl::Status TorchStageGroup::WriteSteps(const Tensor& value) {
  if (value.dtype() != DType::kI64 || value.num_elements() != 1) {
    return InvalidArgument("step: expected one I64, got ", Name(value.dtype()), " ",
                           ToString(value.shape()), " (trained state)");
  }
  optimizer_->set_steps(*static_cast<const int64_t*>(value.data()));
  return absl::OkStatus();
}

absl::Status TorchStageGroup::WriteState(const std::string& name, const Tensor& value) {
  if (name == kSteps) return WriteSteps(value);
  return Guard([&]() -> absl::Status {
    at::NoGradGuard no_grad;
    at::Tensor held = FindState(name);
    if (!held.defined()) return NotHeld(name);
    if (value.shape() != held.sizes().vec()) {
      return InvalidArgument(name, ": expected shape ", ToString(held.sizes().vec()), ", got ",
                             ToString(value.shape()), " (trained state)");
    }
    held.copy_(FromBytes(value, at::kFloat, at::kCPU));
    return absl::OkStatus();
  });
}

int64_t TorchStageGroup::trained_bytes() const {
  int64_t copies_of_state = static_cast<int64_t>(optimizer_->state().size());
  int64_t total = 0;
  for (const TrainedTensor& tensor : parameters_->trained()) {
    const int64_t gradients = static_cast<int64_t>(tensor.leaves.size());
    total += static_cast<int64_t>(tensor.value.nbytes()) * (1 + gradients + copies_of_state);
  }
  return total;
}

}  // namespace isthmus
