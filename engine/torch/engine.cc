#include "engine/torch/engine.h"

#include <torch/csrc/api/include/torch/version.h>

#include <utility>

#include "base/status.h"
#include "engine/block_timing.h"
#include "engine/torch/environment.h"
#include "engine/torch/guard.h"
#include "engine/torch/libtorch.h"
#include "engine/torch/torch_stage_group.h"

namespace isthmus {
namespace {

absl::StatusOr<at::Device> FindDevice(const std::string& device) {
  if (device == "cpu") return at::Device(at::kCPU);
  if (device != "cuda") {
    return InvalidArgument("--device: expected cpu or cuda, got ", device, " (engine torch)");
  }
  if (at::hasCUDA() && at::getNumGPUs() > 0) return at::Device(at::kCUDA, 0);
  return InvalidArgument(
      "--device: expected cpu, got cuda, which this LibTorch or machine does "
      "not have (engine torch)");
}

class TorchEngine : public Engine {
 public:
  TorchEngine(std::string device_name, at::Device device, int64_t threads)
      : device_name_(std::move(device_name)), device_(device), threads_(threads) {}

  std::string name() const override {
    return absl::StrCat("torch ", TORCH_VERSION, " ", device_name_);
  }

  absl::StatusOr<std::unique_ptr<StageGroup>> MakeStages(const ModelConfig& config,
                                                         const TrainSpec& train,
                                                         absl::Span<const LayerRange> ranges,
                                                         WeightSource* weights,
                                                         bool shared_embedding) override {
    if (!train.edge.weights.empty() || !train.edge.kv_cache.empty() || train.edge.update != "all" ||
        train.edge.memory_limit_bytes > 0) {
      return InvalidArgument(
          "edge: expected no such settings with this engine, got some (job; --engine edge has "
          "them)");
    }
    at::Device device = device_;
    if (train.device != "cpu") {
      ISTHMUS_ASSIGN_OR_RETURN(device, FindDevice(train.device));
    }
    return Guard([&] {
      UseThreads(train.threads);
      return TorchStageGroup::Make(config, train, ranges, weights, shared_embedding, device);
    });
  }

  absl::StatusOr<Speed> MeasureBlock(const ModelConfig& config, const TrainSpec& train,
                                     int64_t tokens) override {
    return TimeBlock(this, config, train, tokens);
  }

 private:
  // OpenMP counts threads per calling thread: the stage thread has to say it itself.
  void UseThreads(int64_t threads) {
    if (threads <= 0) threads = threads_;
    if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  }

  const std::string device_name_;
  const at::Device device_;
  const int64_t threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeTorchEngine(const std::string& device,
                                                        int64_t threads) {
  ISTHMUS_ASSIGN_OR_RETURN(const at::Device found, FindDevice(device));
  AvoidUndescribedTiles();
  std::unique_ptr<Engine> engine = std::make_unique<TorchEngine>(device, found, threads);
  return engine;
}

}  // namespace isthmus
