#include "engine/block_timing.h"

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace isthmus {
namespace {

// Weights for timing: any ordinary number will do (zeros could be skipped, denormals are slow).
class ConstantWeights : public WeightSource {
 public:
  explicit ConstantWeights(const ModelConfig& config) : tensors_(ModelTensors(config)) {}
  absl::StatusOr<Tensor> Load(const std::string& name) override {
    for (const TensorInfo& info : tensors_) {
      if (info.name != name) continue;
      Tensor tensor(DType::kF32, info.shape);
      std::fill(tensor.mutable_floats().begin(), tensor.mutable_floats().end(), 0.01f);
      return tensor;
    }
    return NotFound(name, ": expected a tensor of the model, got none (measurement)");
  }

 private:
  const std::vector<TensorInfo> tensors_;
};

// `tokens` positions in samples of at most the model's context.
MicroBatch TimingBatch(const ModelConfig& config, int64_t tokens) {
  MicroBatch mb;
  while (tokens > 0) {
    const int64_t length = std::min(tokens, std::max<int64_t>(config.max_positions, 1));
    mb.samples.push_back(mb.samples.size());
    mb.lengths.push_back(static_cast<int32_t>(length));
    tokens -= length;
  }
  return mb;
}

Tensor TimingRows(int64_t tokens, int64_t width) {
  Tensor rows(DType::kF32, {tokens, width});
  absl::Span<float> values = rows.mutable_floats();
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) * 0.1f - 0.8f;
  return rows;
}

// What the other processes of a machine do to a core's caches while this one waits for a frame.
class OtherWork {
 public:
  void Work() {
    for (size_t i = 0; i < memory_.size(); i += kLine) ++memory_[i];
  }

 private:
  static constexpr size_t kLine = 64;
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(size_t{4} << 20);  // a core's L2, twice
};

}  // namespace

absl::StatusOr<Engine::Speed> TimeBlock(Engine* engine, const ModelConfig& config,
                                        const TrainSpec& train, int64_t tokens) {
  constexpr int64_t kBudgetUs = 300'000;
  constexpr int kMaxRounds = 20;
  if (tokens < 1) return InvalidArgument("tokens: expected 1 or more, got ", tokens, " (measure)");
  ModelConfig one = config;
  one.num_layers = 1;
  TrainSpec timed = train;
  timed.probes = 0;  // stages trained by probes have no backward pass to be timed
  ConstantWeights weights(one);
  const LayerRange range{0, 1, false, false};
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<StageGroup> group,
                           engine->MakeStages(one, timed, {&range, 1}, &weights, false));
  constexpr uint32_t kInFlight = 4;
  MicroBatch mb = TimingBatch(config, tokens);
  const Tensor rows = TimingRows(tokens, config.hidden_size);
  const double count = static_cast<double>(tokens);
  OtherWork others;
  Engine::Speed speed;
  const int64_t end = NowUs() + kBudgetUs;
  for (int round = 0; round < 2 || (round < kMaxRounds && NowUs() < end); ++round) {
    double forward = 0.0, backward = 0.0;
    for (mb.index = 0; mb.index < kInFlight; ++mb.index) {
      others.Work();
      const int64_t start = NowUs();
      ISTHMUS_RETURN_IF_ERROR(group->stage(0)->Forward(mb, Pass::kTrain, rows).status());
      forward += static_cast<double>(NowUs() - start) * 1e-6 / (kInFlight * count);
    }
    for (mb.index = 0; mb.index < kInFlight; ++mb.index) {
      others.Work();
      const int64_t start = NowUs();
      ISTHMUS_RETURN_IF_ERROR(group->stage(0)->Backward(mb.index, rows).status());
      backward += static_cast<double>(NowUs() - start) * 1e-6 / (kInFlight * count);
    }
    // The first round pays for page faults and thread start.
    if (round <= 1 || forward < speed.forward_s) speed.forward_s = forward;
    if (round <= 1 || backward < speed.backward_s) speed.backward_s = backward;
  }
  return speed;
}

}  // namespace isthmus
