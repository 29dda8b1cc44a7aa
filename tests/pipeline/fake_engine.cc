#include "tests/pipeline/fake_engine.h"

#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace isthmus {
namespace {

class FakeGroup;

class FakeStage : public Stage {
 public:
  FakeStage(FakeGroup* group, int64_t width, const LayerRange& range)
      : group_(group), width_(width), range_(range) {}

  const LayerRange& range() const override { return range_; }
  absl::StatusOr<StageOutput> Forward(const MicroBatch& mb, Pass pass, const Tensor& in) override;
  absl::StatusOr<Tensor> Backward(uint32_t micro_batch, const Tensor& grad_out) override;
  void DropActivations() override { kept_.clear(); }
  int64_t activation_bytes() const override { return static_cast<int64_t>(kept_.size()); }
  absl::StatusOr<Tensor> Extend(absl::Span<const int32_t>, const Tensor&) override {
    return Unimplemented("fake: no generation");
  }
  void ResetCache() override {}

 private:
  struct Kept {
    std::vector<Tensor> inputs;  // of each block
    Tensor grad;                 // of the loss by the last hidden state (head only)
  };
  Tensor Embed(const MicroBatch& mb) const;
  StageOutput Loss(const MicroBatch& mb, const Tensor& hidden, Kept* kept) const;

  FakeGroup* const group_;
  const int64_t width_;
  const LayerRange range_;
  std::map<uint32_t, Kept> kept_;
};

class FakeGroup : public StageGroup {
 public:
  FakeGroup(const ModelConfig& config, const std::vector<LayerRange>& ranges) {
    for (const LayerRange& range : ranges) {
      stages_.push_back(std::make_unique<FakeStage>(this, config.hidden_size, range));
      for (int64_t l = range.first_layer; l < range.last_layer; ++l)
        weight[l] = 0.01f * static_cast<float>(l + 1);
    }
  }
  size_t size() const override { return stages_.size(); }
  Stage* stage(size_t i) override { return stages_[i].get(); }
  void ZeroGradients() override { gradient.clear(); }
  absl::StatusOr<std::vector<NamedSquare>> GradientSquares() override {
    std::vector<NamedSquare> squares;
    for (const auto& [l, w] : weight) squares.push_back({NameOf(l), gradient[l] * gradient[l]});
    return squares;
  }
  absl::StatusOr<Tensor> SharedGradient() override { return Tensor(); }
  absl::Status SetSharedGradient(const Tensor&) override { return absl::OkStatus(); }
  absl::Status Step(double lr, double gradient_scale) override {
    for (auto& [l, w] : weight) w -= static_cast<float>(lr * gradient_scale * gradient[l]);
    gradient.clear();
    return absl::OkStatus();
  }
  std::vector<TensorHeader> TrainedHeaders() const override {
    std::vector<TensorHeader> headers;
    for (const auto& [l, w] : weight) headers.push_back({NameOf(l), DType::kF32, {1}});
    return headers;
  }
  std::vector<TensorHeader> OptimizerHeaders() const override { return {}; }
  absl::StatusOr<Tensor> ReadState(const std::string& name) override {
    for (const auto& [l, w] : weight)
      if (name == NameOf(l)) return Tensor::FromFloats({1}, {w});
    return NotFound(name);
  }
  absl::Status WriteState(const std::string& name, const Tensor& value) override {
    for (auto& [l, w] : weight)
      if (name == NameOf(l)) {
        w = value.floats()[0];
        return absl::OkStatus();
      }
    return NotFound(name);
  }
  int64_t parameter_bytes() const override { return 4 * static_cast<int64_t>(weight.size()); }
  int64_t trained_bytes() const override { return parameter_bytes(); }

  static std::string NameOf(int64_t layer) { return absl::StrCat("model.layers.", layer, ".w"); }

  std::map<int64_t, float> weight;
  std::map<int64_t, double> gradient;

 private:
  std::vector<std::unique_ptr<FakeStage>> stages_;
};

Tensor FakeStage::Embed(const MicroBatch& mb) const {
  Tensor out(DType::kF32, {mb.tokens(), width_});
  const auto values = out.mutable_floats();
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t token = i / static_cast<size_t>(width_), d = i % static_cast<size_t>(width_);
    values[i] = std::sin(0.7f * static_cast<float>(mb.ids[token]) + static_cast<float>(d));
  }
  return out;
}

absl::StatusOr<StageOutput> FakeStage::Forward(const MicroBatch& mb, Pass pass, const Tensor& in) {
  Kept kept;
  Tensor hidden = range_.embedding ? Embed(mb) : in;
  if (hidden.dim(0) != mb.tokens()) return InvalidArgument("fake: tokens");
  for (int64_t l = range_.first_layer; l < range_.last_layer; ++l) {
    Tensor out(DType::kF32, hidden.shape());
    const auto from = hidden.floats();
    const auto to = out.mutable_floats();
    for (size_t i = 0; i < to.size(); ++i) to[i] = from[i] * (1.0f + group_->weight[l]);
    kept.inputs.push_back(std::move(hidden));
    hidden = std::move(out);
  }
  StageOutput output;
  if (range_.head) {
    output = Loss(mb, hidden, &kept);
  } else {
    output.hidden = std::move(hidden);
  }
  if (pass == Pass::kTrain) kept_[mb.index] = std::move(kept);
  return output;
}

StageOutput FakeStage::Loss(const MicroBatch& mb, const Tensor& hidden, Kept* kept) const {
  StageOutput output;
  kept->grad = Tensor::Zeros(DType::kF32, hidden.shape());
  const auto grad = kept->grad.mutable_floats();
  size_t token = 0;
  for (const int32_t length : mb.lengths) {
    double sum = 0.0;
    int64_t predicted = 0;
    for (int32_t t = 0; t < length; ++t, ++token) {
      if (mb.targets[token] == -100) continue;
      const size_t at = token * static_cast<size_t>(width_);
      const float off = hidden.floats()[at] - 0.1f * static_cast<float>(mb.targets[token]);
      sum += 0.5 * static_cast<double>(off) * off;
      grad[at] = static_cast<float>(off * mb.loss_scale);
      ++predicted;
    }
    output.loss_sum += sum;
    output.predicted += predicted;
    output.sample_loss_sum.push_back(sum);
    output.sample_predicted.push_back(predicted);
  }
  return output;
}

absl::StatusOr<Tensor> FakeStage::Backward(uint32_t micro_batch, const Tensor& grad_out) {
  const auto it = kept_.find(micro_batch);
  if (it == kept_.end()) return Internal("fake: backward without forward");
  Kept kept = std::move(it->second);
  kept_.erase(it);
  Tensor grad = range_.head ? std::move(kept.grad) : grad_out;
  for (int64_t l = range_.last_layer; l-- > range_.first_layer;) {
    const auto in = kept.inputs[static_cast<size_t>(l - range_.first_layer)].floats();
    Tensor below(DType::kF32, grad.shape());
    const auto to = below.mutable_floats();
    double sum = 0.0;
    for (size_t i = 0; i < to.size(); ++i) {
      sum += static_cast<double>(grad.floats()[i]) * in[i];
      to[i] = grad.floats()[i] * (1.0f + group_->weight[l]);
    }
    group_->gradient[l] += sum;
    grad = std::move(below);
  }
  return range_.embedding ? Tensor() : grad;
}

}  // namespace

std::unique_ptr<StageGroup> MakeFakeStages(const ModelConfig& config,
                                           const std::vector<LayerRange>& ranges) {
  return std::make_unique<FakeGroup>(config, ranges);
}

ModelConfig FakeConfig(int64_t layers, int64_t width) {
  ModelConfig config;
  config.architecture = "llama";
  config.num_layers = layers;
  config.hidden_size = width;
  config.vocab_size = 100;
  return config;
}

}  // namespace isthmus
