#include "engine/torch/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"

namespace isthmus {
namespace {

// An update is ten elementwise operators. On runs of 32k elements their operands (five tensors of
// 128 KB) stay in the second-level cache, so that main memory is read and written once instead of
// ten times.
constexpr int64_t kRunElements = 32 << 10;

// Calls body(first, count) over the runs of a tensor; one run where memory is not the bound.
template <typename Body>
void ForRuns(const at::Tensor& tensor, Body&& body) {
  const int64_t run = tensor.is_cpu() ? kRunElements : std::max<int64_t>(tensor.numel(), 1);
  for (int64_t first = 0; first < tensor.numel(); first += run) {
    body(first, std::min(run, tensor.numel() - first));
  }
}

class AdamW : public Optimizer {
 public:
  AdamW(const OptimizerSpec& spec, const std::vector<at::Tensor>& values) : spec_(spec) {
    AddState("exp_avg", values);
    AddState("exp_avg_sq", values);
  }

  void Update(size_t i, at::Tensor value, at::Tensor grad, double lr,
              double gradient_scale) override {
    const double steps = static_cast<double>(steps_);
    const double step_size = lr / (1.0 - std::pow(spec_.beta1, steps));
    const double root_correction = std::sqrt(1.0 - std::pow(spec_.beta2, steps));
    const at::Tensor values = value.view(-1), grads = grad.view(-1);
    const at::Tensor means = state_[0].tensors[i].view(-1);
    const at::Tensor squares = state_[1].tensors[i].view(-1);
    ForRuns(values, [&](int64_t first, int64_t count) {
      at::Tensor p = values.narrow(0, first, count), g = grads.narrow(0, first, count);
      at::Tensor m = means.narrow(0, first, count), v = squares.narrow(0, first, count);
      if (gradient_scale != 1.0) g.mul_(gradient_scale);
      if (spec_.weight_decay != 0.0) p.mul_(1.0 - lr * spec_.weight_decay);
      m.mul_(spec_.beta1).add_(g, 1.0 - spec_.beta1);
      v.mul_(spec_.beta2).addcmul_(g, g, 1.0 - spec_.beta2);
      p.addcdiv_(m, v.sqrt().div_(root_correction).add_(spec_.eps), -step_size);
    });
  }

 private:
  const OptimizerSpec spec_;
};

class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerSpec& spec, const std::vector<at::Tensor>& values) : spec_(spec) {
    if (spec.momentum != 0.0) AddState("momentum", values);
  }

  void Update(size_t i, at::Tensor value, at::Tensor grad, double lr,
              double gradient_scale) override {
    const at::Tensor values = value.view(-1), grads = grad.view(-1);
    ForRuns(values, [&](int64_t first, int64_t count) {
      at::Tensor p = values.narrow(0, first, count), g = grads.narrow(0, first, count);
      if (gradient_scale != 1.0) g.mul_(gradient_scale);
      if (spec_.weight_decay != 0.0) p.mul_(1.0 - lr * spec_.weight_decay);
      if (!state_.empty()) {
        g = state_[0].tensors[i].view(-1).narrow(0, first, count).mul_(spec_.momentum).add_(g);
      }
      p.add_(g, -lr);
    });
  }

 private:
  const OptimizerSpec spec_;
};

}  // namespace

void Optimizer::AddState(const char* name, const std::vector<at::Tensor>& values) {
  State state{name, {}};
  for (const at::Tensor& value : values) state.tensors.push_back(at::zeros_like(value));
  state_.push_back(std::move(state));
}

absl::StatusOr<std::unique_ptr<Optimizer>> Optimizer::Make(const OptimizerSpec& spec,
                                                           const std::vector<at::Tensor>& values) {
  std::unique_ptr<Optimizer> optimizer;
  if (spec.name == "adamw") {
    optimizer = std::make_unique<AdamW>(spec, values);
  } else if (spec.name == "sgd") {
    optimizer = std::make_unique<Sgd>(spec, values);
  } else {
    return InvalidArgument("name: expected adamw or sgd, got ", spec.name, " (train.optimizer)");
  }
  return optimizer;
}

}  // namespace isthmus
