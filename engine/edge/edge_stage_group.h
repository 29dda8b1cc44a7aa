// The stages of one party on the on-device engine: their weights, trained state and memory.
#ifndef ISTHMUS_ENGINE_EDGE_EDGE_STAGE_GROUP_H_
#define ISTHMUS_ENGINE_EDGE_EDGE_STAGE_GROUP_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/edge/edge_stage.h"
#include "engine/edge/update_choice.h"
#include "engine/edge/weights.h"
#include "engine/edge/work_space.h"
#include "engine/stage.h"

namespace isthmus::edge {

class EdgeStageGroup : public StageGroup {
 public:
  // Chooses what is trained (update_choice.h) and makes it. With sizes in train.edge all memory is
  // reserved here. kResourceExhausted when no choice fits the job's limit.
  static absl::StatusOr<std::unique_ptr<StageGroup>> Make(const ModelConfig& config,
                                                          const TrainSpec& train,
                                                          absl::Span<const LayerRange> ranges,
                                                          WeightSource* weights,
                                                          bool shared_embedding, int threads);
  // The plan that Make follows; nothing is loaded or allocated.
  static absl::StatusOr<MemoryPlan> Plan(const ModelConfig& config, const TrainSpec& train,
                                         absl::Span<const LayerRange> ranges, bool shared_embedding,
                                         int threads);

  size_t size() const override { return stages_.size(); }
  Stage* stage(size_t i) override { return stages_[i].get(); }
  void ZeroGradients() override { trained().ZeroGradients(); }
  absl::StatusOr<std::vector<NamedSquare>> GradientSquares() override;
  absl::StatusOr<Tensor> SharedGradient() override;
  absl::Status SetSharedGradient(const Tensor& sum) override;
  absl::Status Step(double lr, double gradient_scale) override;
  absl::Status Move(const Probe& probe, double scale) override;
  absl::Status MoveBack() override { return trained().MoveBack(); }
  absl::Status Descend(const Descent& descent) override;
  std::vector<TensorHeader> TrainedHeaders() const override { return trained().TrainedHeaders(); }
  std::vector<TensorHeader> OptimizerHeaders() const override;
  absl::StatusOr<Tensor> ReadState(const std::string& name) override {
    return trained().Read(name);
  }
  absl::Status WriteState(const std::string& name, const Tensor& value) override {
    return trained().Write(name, value);
  }
  MemoryPlan memory_plan() const override { return plan_; }
  int64_t parameter_bytes() const override { return weights_->frozen_bytes(); }
  int64_t trained_bytes() const override { return trained().bytes(); }
  // What the engine's buffers take now; see docs/edge.md.
  int64_t arena_bytes() const { return account_->used_bytes(); }

 private:
  struct Chosen {
    UpdateChoice update;
    MemoryPlan plan;
  };
  static absl::StatusOr<Chosen> Choose(const ModelConfig& config, const TrainSpec& train,
                                       absl::Span<const LayerRange> ranges, bool shared_embedding,
                                       int threads);
  // `source` null: only counts, on an account that plans.
  static absl::StatusOr<std::unique_ptr<EdgeStageGroup>> Build(
      const ModelConfig& config, const TrainSpec& train, const UpdateChoice& update,
      absl::Span<const LayerRange> ranges, WeightSource* source, bool shared_embedding, int threads,
      std::shared_ptr<MemoryAccount> account);
  absl::Status Reserve();
  std::string Describe(const UpdateChoice& update) const;
  EdgeStageGroup(std::shared_ptr<MemoryAccount> account, std::unique_ptr<Weights> weights,
                 bool shared_embedding)
      : account_(std::move(account)),
        weights_(std::move(weights)),
        shared_embedding_(shared_embedding) {}
  TrainedTensors& trained() const { return *weights_->trained(); }
  TrainedTensor* shared() const { return shared_embedding_ ? weights_->tied() : nullptr; }

  const std::shared_ptr<MemoryAccount> account_;
  const std::unique_ptr<Weights> weights_;
  const bool shared_embedding_;
  MemoryPlan plan_;
  std::unique_ptr<WorkSpace> work_;
  std::vector<std::unique_ptr<EdgeStage>> stages_;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_EDGE_STAGE_GROUP_H_
