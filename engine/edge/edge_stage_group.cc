#include "engine/edge/edge_stage_group.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "kernels/rows.h"

namespace isthmus::edge {

absl::StatusOr<std::unique_ptr<EdgeStageGroup>> EdgeStageGroup::Build(
    const ModelConfig& config, const TrainSpec& train, const UpdateChoice& update,
    absl::Span<const LayerRange> ranges, WeightSource* source, bool shared_embedding, int threads,
    std::shared_ptr<MemoryAccount> account) {
  TrainSpec chosen = train;
  chosen.recompute = update.recompute;
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<Weights> loaded,
                           Weights::Load(config, chosen, ranges, update.first_updated,
                                         shared_embedding, source, account));
  auto group = std::unique_ptr<EdgeStageGroup>(
      new EdgeStageGroup(std::move(account), std::move(loaded), shared_embedding));
  const bool head =
      std::any_of(ranges.begin(), ranges.end(), [](const LayerRange& range) { return range.head; });
  group->work_ = std::make_unique<WorkSpace>(group->weights_.get(), head, threads, group->account_);
  for (const LayerRange& range : ranges) {
    group->stages_.push_back(
        std::make_unique<EdgeStage>(group->weights_.get(), group->work_.get(), range));
  }
  ISTHMUS_RETURN_IF_ERROR(group->Reserve());
  group->plan_ = {group->account_->used_bytes(), group->Describe(update)};
  return group;
}

// One buffer for what each stage returns, and one that is still on its way out.
absl::Status EdgeStageGroup::Reserve() {
  const EdgeSpec& edge = weights_->train().edge;
  if (edge.sample_tokens <= 0) return absl::OkStatus();
  const int64_t tokens = edge.sample_tokens * std::max<int64_t>(1, edge.micro_batch_samples);
  ISTHMUS_RETURN_IF_ERROR(work_->Reserve(tokens, edge.sample_tokens));
  for (const auto& stage : stages_)
    ISTHMUS_RETURN_IF_ERROR(stage->Reserve(edge.micro_batches_kept, tokens));
  const int64_t row_bytes = weights_->config().hidden_size * int64_t{sizeof(float)};
  return work_->tensors()->Reserve(static_cast<int64_t>(stages_.size()) + 1, tokens * row_bytes);
}

std::string EdgeStageGroup::Describe(const UpdateChoice& update) const {
  const TrainSpec& train = weights_->train();
  const double mb = 1e-6;
  std::string text = absl::StrFormat(
      "edge: %.1f MB planned: %s base %.1f, trained state %.1f, activations and work %.1f",
      mb * static_cast<double>(account_->used_bytes()), train.edge.weights,
      mb * static_cast<double>(weights_->frozen_bytes()),
      mb * static_cast<double>(trained().bytes()),
      mb * static_cast<double>(account_->used_bytes() - weights_->frozen_bytes() -
                               trained().bytes()));
  if (train.probes > 0) absl::StrAppend(&text, "; forward passes alone");
  if (train.edge.update != "auto") return text;
  absl::StrAppend(&text, update.recompute ? ", recomputing" : "", "; trained: ");
  if (update.first_updated == 0)
    return absl::StrCat(text, train.full ? "everything" : "adapters of all blocks");
  return absl::StrCat(text, train.full ? "" : "adapters of ", "blocks from ", update.first_updated,
                      " on", train.full ? ", final norm and head" : "");
}

// The first choice that fits. Without a limit that is the first.
absl::StatusOr<EdgeStageGroup::Chosen> EdgeStageGroup::Choose(const ModelConfig& config,
                                                              const TrainSpec& train,
                                                              absl::Span<const LayerRange> ranges,
                                                              bool shared_embedding, int threads) {
  const int64_t limit = train.edge.memory_limit_bytes;
  int64_t least = 0;
  for (const UpdateChoice& update : UpdateChoices(train, ranges, shared_embedding)) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::unique_ptr<EdgeStageGroup> counted,
                             Build(config, train, update, ranges, nullptr, shared_embedding,
                                   threads, std::make_shared<MemoryAccount>(0, /*plans=*/true)));
    if (limit <= 0 || counted->plan_.bytes <= limit) return Chosen{update, counted->plan_};
    least = counted->plan_.bytes;
  }
  return ResourceExhausted("edge.memory_limit: expected at least ", least,
                           " bytes for this part of the model, got ", limit,
                           " (update: auto, fewer layers, shorter or fewer samples a micro-batch, "
                           "or weights of fewer bits need less)");
}

absl::StatusOr<MemoryPlan> EdgeStageGroup::Plan(const ModelConfig& config, const TrainSpec& train,
                                                absl::Span<const LayerRange> ranges,
                                                bool shared_embedding, int threads) {
  ISTHMUS_ASSIGN_OR_RETURN(Chosen chosen, Choose(config, train, ranges, shared_embedding, threads));
  return std::move(chosen.plan);
}

absl::StatusOr<std::unique_ptr<StageGroup>> EdgeStageGroup::Make(
    const ModelConfig& config, const TrainSpec& train, absl::Span<const LayerRange> ranges,
    WeightSource* weights, bool shared_embedding, int threads) {
  UpdateChoice update = {train.recompute, 0};
  if (train.edge.memory_limit_bytes > 0) {
    ISTHMUS_ASSIGN_OR_RETURN(const Chosen chosen,
                             Choose(config, train, ranges, shared_embedding, threads));
    update = chosen.update;
  }
  return Build(config, train, update, ranges, weights, shared_embedding, threads,
               std::make_shared<MemoryAccount>(train.edge.memory_limit_bytes));
}

absl::StatusOr<std::vector<StageGroup::NamedSquare>> EdgeStageGroup::GradientSquares() {
  std::vector<NamedSquare> squares;
  for (TrainedTensor& tensor : trained().tensors()) {
    if (!tensor.updated || tensor.gradients.empty()) continue;
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

// Without room for the values that were, there are gradients instead.
absl::Status EdgeStageGroup::Move(const Probe& probe, double scale) {
  if (weights_->train().probes > 0) return trained().Move(probe, scale);
  return absl::FailedPreconditionError("probe: expected stages trained by probes, got others");
}

absl::Status EdgeStageGroup::Descend(const Descent& descent) {
  trained().Descend(descent);
  return absl::OkStatus();
}

std::vector<TensorHeader> EdgeStageGroup::OptimizerHeaders() const {
  return trained().OptimizerHeaders();
}

}  // namespace isthmus::edge
