#include "engine/edge/engine.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/status.h"
#include "engine/block_timing.h"
#include "engine/edge/edge_stage_group.h"
#include "engine/edge/kv_cache.h"
#include "engine/edge/packed_model.h"
#include "kernels/weight_format.h"

namespace isthmus {
namespace {

// Far above any device's cores; what more a flag may say would only be threads that wait.
constexpr int64_t kMostThreads = 1024;

absl::Status CheckTrain(const TrainSpec& train) {
  if (train.device != "cpu") {
    return InvalidArgument("--device: expected cpu, got ", train.device, " (engine edge)");
  }
  if (train.edge.update == "auto" && train.edge.memory_limit_bytes <= 0) {
    return InvalidArgument("edge.update: expected a memory_limit with auto, got none (job)");
  }
  return absl::OkStatus();
}

// `train` with the format of the base in it. What is trained, and codes of 8 bits and fewer, are
// multiplied as they are: only a base of 16 bits knows another dtype.
absl::Status CheckDtype(const TrainSpec& train) {
  if (!train.bf16 || (!train.full && train.edge.weights == "bf16")) return absl::OkStatus();
  return InvalidArgument(
      "dtype: expected fp32, or bf16 with a frozen base of weights bf16, got bf16 ",
      train.full ? "with train.method full" : "with weights ", train.full ? "" : train.edge.weights,
      " (engine edge)");
}

// `train` with the format in it. Of trained matrices only int8 codes have a step.
absl::Status CheckFull(const TrainSpec& train) {
  if (!train.full || train.edge.weights == "f32") return absl::OkStatus();
  if (train.edge.weights != "int8") {
    return InvalidArgument("weights: expected f32 or int8 with train.method full, got ",
                           train.edge.weights, " (engine edge)");
  }
  if (train.probes == 0) return absl::OkStatus();
  return InvalidArgument(
      "weights: expected f32 with train.method full and estimator spsa, got int8",
      " (engine edge)");
}

class EdgeEngine : public Engine {
 public:
  EdgeEngine(int64_t threads, std::string weights, std::string kv_cache)
      : threads_(threads), weights_(std::move(weights)), kv_cache_(std::move(kv_cache)) {}

  std::string name() const override { return "edge"; }

  absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenModel(const std::string& path,
                                                            bool weights) override {
    if (!weights || !PackedModel::IsPacked(path)) return ModelDirectory::Open(path, weights);
    ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<PackedModel> packed, PackedModel::Open(path));
    return std::unique_ptr<ModelDirectory>(std::move(packed));
  }

  absl::StatusOr<std::unique_ptr<StageGroup>> MakeStages(const ModelConfig& config,
                                                         const TrainSpec& train,
                                                         absl::Span<const LayerRange> ranges,
                                                         WeightSource* weights,
                                                         bool shared_embedding) override {
    ISTHMUS_RETURN_IF_ERROR(CheckTrain(train));
    ISTHMUS_ASSIGN_OR_RETURN(const TrainSpec resolved,
                             ResolvedFor(dynamic_cast<const PackedModel*>(weights), train));
    ISTHMUS_RETURN_IF_ERROR(CheckDtype(resolved));
    ISTHMUS_RETURN_IF_ERROR(CheckFull(resolved));
    return edge::EdgeStageGroup::Make(config, resolved, ranges, weights, shared_embedding,
                                      ThreadsFor(train));
  }

  absl::StatusOr<MemoryPlan> PlanMemory(const ModelConfig& config, const TrainSpec& train,
                                        absl::Span<const LayerRange> ranges,
                                        bool shared_embedding) override {
    ISTHMUS_RETURN_IF_ERROR(CheckTrain(train));
    ISTHMUS_RETURN_IF_ERROR(CheckDtype(Resolved(train)));
    ISTHMUS_RETURN_IF_ERROR(CheckFull(Resolved(train)));
    return edge::EdgeStageGroup::Plan(config, Resolved(train), ranges, shared_embedding,
                                      ThreadsFor(train));
  }

  absl::StatusOr<Speed> MeasureBlock(const ModelConfig& config, const TrainSpec& train,
                                     int64_t tokens) override {
    return TimeBlock(this, config, train, tokens);
  }

 private:
  TrainSpec Resolved(TrainSpec train) const {
    if (train.edge.weights.empty()) train.edge.weights = weights_.empty() ? "f32" : weights_;
    if (train.edge.kv_cache.empty()) train.edge.kv_cache = kv_cache_;
    return train;
  }

  // `packed` null: the matrices are packed when they are loaded.
  absl::StatusOr<TrainSpec> ResolvedFor(const PackedModel* packed, TrainSpec train) const {
    if (packed == nullptr) return Resolved(std::move(train));
    if (train.edge.kv_cache.empty()) train.edge.kv_cache = kv_cache_;
    const std::string format = packed->packed_format();
    const std::string asked = train.edge.weights.empty() ? weights_ : train.edge.weights;
    if (!asked.empty()) {
      ISTHMUS_ASSIGN_OR_RETURN(const WeightFormatSpec spec, ParseWeightFormat(asked));
      if (WeightFormatText(spec) != format) {
        return InvalidArgument("weights: expected ", format, ", as the model is packed, got ",
                               asked, " (", packed->path(), ")");
      }
    }
    train.edge.weights = format;
    return train;
  }

  int ThreadsFor(const TrainSpec& train) const {
    int64_t threads = train.threads > 0 ? train.threads : threads_;
    if (threads <= 0) threads = std::thread::hardware_concurrency();
    return static_cast<int>(std::clamp<int64_t>(threads, 1, kMostThreads));
  }

  const int64_t threads_;
  const std::string weights_;
  const std::string kv_cache_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeEdgeEngine(int64_t threads, const std::string& weights,
                                                       const std::string& kv_cache) {
  if (!weights.empty()) ISTHMUS_RETURN_IF_ERROR(ParseWeightFormat(weights).status());
  ISTHMUS_RETURN_IF_ERROR(edge::ParseKvFormat(kv_cache).status());
  std::unique_ptr<Engine> engine = std::make_unique<EdgeEngine>(threads, weights, kv_cache);
  return engine;
}

}  // namespace isthmus
