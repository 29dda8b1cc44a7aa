#include "engine/torch/head.h"

#include <algorithm>
#include <utility>

#include "engine/torch/convert.h"

namespace isthmus {
namespace {

constexpr int64_t kRunFloats = int64_t{8} << 20;  // logits of one run: 32 MB

// The predicted rows of a micro-batch, in order.
struct Predicted {
  std::vector<int64_t> rows, targets;
  std::vector<size_t> samples;
};

Predicted FindPredicted(const MicroBatch& mb) {
  Predicted predicted;
  int64_t row = 0;
  for (size_t s = 0; s < mb.lengths.size(); ++s) {
    for (int32_t p = 0; p < mb.lengths[s]; ++p, ++row) {
      if (mb.targets[row] < 0) continue;
      predicted.rows.push_back(row);
      predicted.targets.push_back(mb.targets[row]);
      predicted.samples.push_back(s);
    }
  }
  return predicted;
}

// `values` at the predicted rows of a zero tensor of `tokens` rows.
at::Tensor Unselect(const at::Tensor& rows, const at::Tensor& values, int64_t tokens) {
  if (!rows.defined()) return values;
  return at::index_copy(at::zeros({tokens, values.size(1)}, values.options()), 0, rows, values);
}

at::Tensor Select(const at::Tensor& rows, const at::Tensor& x) {
  return rows.defined() ? at::index_select(x, 0, rows) : x;
}

void AddGradient(const at::Tensor& leaf, const at::Tensor& grad) {
  at::Tensor& sum = const_cast<at::Tensor&>(leaf).mutable_grad();
  if (sum.defined()) {
    sum.add_(grad);
  } else {
    sum = grad.contiguous();
  }
}

// Adds the losses of one run, in double, to their samples.
void AddLosses(const at::Tensor& picked, const size_t* samples, StageOutput* out) {
  const at::Tensor host = picked.to(at::kCPU).contiguous();
  const float* values = host.data_ptr<float>();
  for (int64_t i = 0; i < host.numel(); ++i) {
    out->sample_loss_sum[samples[i]] -= values[i];
    ++out->sample_predicted[samples[i]];
  }
}

}  // namespace

int64_t HeadActivations::bytes() const {
  int64_t total = 0;
  const auto add = [&total](const at::Tensor& t) {
    if (t.defined()) total += static_cast<int64_t>(t.nbytes());
  };
  add(in);
  add(normal);
  add(grad_normal);
  for (const at::Tensor& run : grad_logits) add(run);
  return total;
}

Head::Head(const ModelConfig& config, HeadWeights weights, at::ScalarType compute)
    : config_(config), weights_(std::move(weights)), compute_(compute) {}

void Head::Forward(const MicroBatch& mb, const at::Tensor& x, StageOutput* out,
                   HeadActivations* kept) const {
  out->sample_loss_sum.assign(mb.lengths.size(), 0.0);
  out->sample_predicted.assign(mb.lengths.size(), 0);
  at::Tensor normal;
  {
    at::AutoGradMode grad(kept != nullptr);
    normal = Normalize(config_, weights_.norm, x);
  }
  at::NoGradGuard no_grad;
  const at::Tensor grad_normal = Loss(mb, normal.detach(), out, kept);
  for (size_t s = 0; s < mb.lengths.size(); ++s) {
    out->loss_sum += out->sample_loss_sum[s];
    out->predicted += out->sample_predicted[s];
  }
  if (kept == nullptr) return;
  kept->in = x;
  kept->normal = normal;
  kept->grad_normal = grad_normal;
}

// Cross entropy with fp32 log-softmax. Of each row the gradient of the logits is softmax - onehot;
// at the target it is expm1(log p), exact where p is close to one. Returns the gradient of `normal`
// when the head is frozen.
at::Tensor Head::Loss(const MicroBatch& mb, const at::Tensor& normal, StageOutput* out,
                      HeadActivations* kept) const {
  const Predicted predicted = FindPredicted(mb);
  const int64_t count = static_cast<int64_t>(predicted.rows.size());
  at::Tensor rows;
  if (count != normal.size(0)) rows = Indices(predicted.rows, normal.device());
  const at::Tensor targets = Indices(predicted.targets, normal.device()).unsqueeze(1);
  const at::Tensor selected = Select(rows, normal);
  const bool trained = weights_.weight.requires_grad();
  at::Tensor grad_selected;
  if (kept != nullptr && !trained) grad_selected = at::empty_like(selected);
  const int64_t run_rows = std::max<int64_t>(1, kRunFloats / config_.vocab_size);
  for (int64_t first = 0; first < count; first += run_rows) {
    const int64_t n = std::min(run_rows, count - first);
    const at::Tensor target = targets.narrow(0, first, n);
    at::Tensor log_p = at::log_softmax(
        MatMul(selected.narrow(0, first, n), weights_.weight, /*transposed=*/false, compute_), -1);
    const at::Tensor picked = log_p.gather(1, target);
    AddLosses(picked, predicted.samples.data() + first, out);
    if (kept == nullptr) continue;
    at::Tensor grad = log_p.exp_().scatter_(1, target, picked.expm1()).mul_(mb.loss_scale);
    if (trained) {
      kept->grad_logits.push_back(std::move(grad));
    } else {
      grad_selected.narrow(0, first, n)
          .copy_(MatMul(grad, weights_.weight, /*transposed=*/true, compute_));
    }
  }
  if (kept != nullptr) kept->rows = rows;
  return grad_selected.defined() ? Unselect(rows, grad_selected, normal.size(0)) : at::Tensor();
}

at::Tensor Head::Backward(HeadActivations kept) const {
  at::Tensor grad_normal = std::move(kept.grad_normal);
  if (!grad_normal.defined()) {
    at::NoGradGuard no_grad;
    const at::Tensor selected = Select(kept.rows, kept.normal.detach());
    at::Tensor grad_selected = at::empty_like(selected);
    int64_t first = 0;
    for (at::Tensor& run : kept.grad_logits) {
      const int64_t n = run.size(0);
      grad_selected.narrow(0, first, n)
          .copy_(MatMul(run, weights_.weight, /*transposed=*/true, compute_));
      AddGradient(weights_.weight, MatMul(run.t(), selected.narrow(0, first, n),
                                          /*transposed=*/true, compute_));
      run.reset();
      first += n;
    }
    grad_normal = Unselect(kept.rows, grad_selected, kept.normal.size(0));
  }
  if (!kept.normal.requires_grad()) return at::Tensor();
  torch::autograd::backward({kept.normal}, {grad_normal});
  return kept.in.grad();
}

at::Tensor Head::LastLogits(const at::Tensor& x) const {
  const at::Tensor last = x.narrow(0, x.size(0) - 1, 1);
  return MatMul(Normalize(config_, weights_.norm, last), weights_.weight, /*transposed=*/false,
                compute_)
      .view({config_.vocab_size});
}

}  // namespace isthmus
