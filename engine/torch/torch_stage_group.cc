#include "engine/torch/torch_stage_group.h"

#include <map>
#include <utility>

#include "base/status.h"
#include "engine/torch/convert.h"
#include "engine/torch/guard.h"

namespace isthmus {
namespace {

using TensorsByName = std::map<absl::string_view, const Tensor*>;

TensorsByName ByName(absl::Span<const NamedTensor> tensors) {
  TensorsByName by_name;
  for (const NamedTensor& tensor : tensors) by_name[tensor.name] = &tensor.tensor;
  return by_name;
}

// The tensor called `name`, which must have the shape of `like`.
absl::StatusOr<const Tensor*> Find(const TensorsByName& tensors, const std::string& name,
                                   const at::Tensor& like) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    return NotFound(name, ": expected a tensor, got none (trained state)");
  }
  if (found->second->shape() != like.sizes().vec()) {
    return InvalidArgument(name, ": expected shape ", ToString(like.sizes().vec()), ", got ",
                           ToString(found->second->shape()), " (trained state)");
  }
  return found->second;
}

void Assign(const Tensor& from, at::Tensor to) { to.copy_(FromBytes(from, at::kFloat, at::kCPU)); }

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

absl::StatusOr<std::vector<NamedTensor>> TorchStageGroup::Trained() {
  return Guard([&]() -> absl::StatusOr<std::vector<NamedTensor>> {
    std::vector<NamedTensor> tensors;
    for (const TrainedTensor& tensor : parameters_->trained()) {
      tensors.push_back({tensor.name, CopyToBytes(tensor.value)});
    }
    return tensors;
  });
}

absl::StatusOr<std::vector<NamedTensor>> TorchStageGroup::OptimizerState() {
  return Guard([&]() -> absl::StatusOr<std::vector<NamedTensor>> {
    std::vector<NamedTensor> tensors;
    for (const Optimizer::State& state : optimizer_->state()) {
      for (size_t i = 0; i < state.tensors.size(); ++i) {
        tensors.push_back({absl::StrCat(state.name, "/", parameters_->trained()[i].name),
                           CopyToBytes(state.tensors[i])});
      }
    }
    Tensor step(DType::kI64, {1});
    *static_cast<int64_t*>(step.mutable_data()) = optimizer_->steps();
    tensors.push_back({"step", std::move(step)});
    return tensors;
  });
}

absl::Status TorchStageGroup::SetTrained(absl::Span<const NamedTensor> tensors) {
  return Guard([&]() -> absl::Status {
    at::NoGradGuard no_grad;
    const TensorsByName by_name = ByName(tensors);
    for (TrainedTensor& held : parameters_->trained()) {
      ISTHMUS_RETURN_IF_ERROR(Find(by_name, held.name, held.value).status());
    }
    for (TrainedTensor& held : parameters_->trained()) Assign(*by_name.at(held.name), held.value);
    return absl::OkStatus();
  });
}

absl::Status TorchStageGroup::SetOptimizerState(absl::Span<const NamedTensor> tensors) {
  return Guard([&]() -> absl::Status {
    at::NoGradGuard no_grad;
    const TensorsByName by_name = ByName(tensors);
    const auto step = by_name.find("step");
    if (step == by_name.end()) return NotFound("step: expected a tensor, got none (trained state)");
    if (step->second->dtype() != DType::kI64 || step->second->num_elements() != 1) {
      return InvalidArgument("step: expected one I64, got ", Name(step->second->dtype()), " ",
                             ToString(step->second->shape()), " (trained state)");
    }
    std::vector<std::pair<const Tensor*, at::Tensor>> assignments;
    for (const Optimizer::State& state : optimizer_->state()) {
      for (size_t i = 0; i < state.tensors.size(); ++i) {
        const std::string name = absl::StrCat(state.name, "/", parameters_->trained()[i].name);
        ISTHMUS_ASSIGN_OR_RETURN(const Tensor* found, Find(by_name, name, state.tensors[i]));
        assignments.emplace_back(found, state.tensors[i]);
      }
    }
    for (const auto& [from, to] : assignments) Assign(*from, to);
    optimizer_->set_steps(*static_cast<const int64_t*>(step->second->data()));
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
