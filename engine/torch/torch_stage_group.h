// The layer ranges of one party, their parameters and their optimizer.
#ifndef ISTHMUS_ENGINE_TORCH_TORCH_STAGE_GROUP_H_
#define ISTHMUS_ENGINE_TORCH_TORCH_STAGE_GROUP_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/stage.h"
#include "engine/torch/optimizer.h"
#include "engine/torch/parameters.h"
#include "engine/torch/torch_stage.h"

namespace isthmus {

class TorchStageGroup : public StageGroup {
 public:
  static absl::StatusOr<std::unique_ptr<StageGroup>> Make(
      const ModelConfig& config, const TrainSpec& train, absl::Span<const LayerRange> ranges,
      WeightSource* weights, bool shared_embedding, const at::Device& device);

  size_t size() const override { return stages_.size(); }
  Stage* stage(size_t i) override { return stages_[i].get(); }
  void ZeroGradients() override;
  absl::StatusOr<std::vector<NamedSquare>> GradientSquares() override;
  absl::StatusOr<Tensor> SharedGradient() override;
  absl::Status SetSharedGradient(const Tensor& sum) override;
  absl::Status Step(double lr, double gradient_scale) override;
  std::vector<TensorHeader> TrainedHeaders() const override;
  std::vector<TensorHeader> OptimizerHeaders() const override;
  absl::StatusOr<Tensor> ReadState(const std::string& name) override;
  absl::Status WriteState(const std::string& name, const Tensor& value) override;
  int64_t parameter_bytes() const override { return parameters_->frozen_bytes(); }
  int64_t trained_bytes() const override;

 private:
  TorchStageGroup(std::unique_ptr<Parameters> parameters, std::unique_ptr<Optimizer> optimizer,
                  bool shared_embedding)
      : parameters_(std::move(parameters)),
        optimizer_(std::move(optimizer)),
        shared_embedding_(shared_embedding) {}
  // The fp32 tensor of trained or optimizer state with this name; undefined when there is none.
  at::Tensor FindState(const std::string& name) const;
  absl::Status WriteSteps(const Tensor& value);

  std::unique_ptr<Parameters> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  const bool shared_embedding_;
  std::vector<std::unique_ptr<TorchStage>> stages_;
};

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_TORCH_STAGE_GROUP_H_
