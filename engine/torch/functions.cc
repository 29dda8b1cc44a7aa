#include "engine/torch/functions.h"

#include "base/check.h"

namespace isthmus {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// 1 / rms of every row, [tokens, 1].
at::Tensor InverseRms(const at::Tensor& x, double eps) {
  at::Tensor norm = at::linalg_vector_norm(x, 2, at::IntArrayRef{-1}, /*keepdim=*/true);
  return norm.square_().mul_(1.0 / static_cast<double>(x.size(-1))).add_(eps).rsqrt_();
}

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            double eps) {
    const at::Tensor inverse = InverseRms(x, eps);
    ctx->save_for_backward({x, weight, inverse});
    ctx->saved_data["x"] = x.requires_grad();
    ctx->saved_data["weight"] = weight.requires_grad();
    return at::mul(x, inverse).mul_(weight);
  }

  // With r = 1 / rms and h = g * weight: dx = r h - x r^3 / width * <h, x>.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& inverse = saved[2];
    at::Tensor grad_x, grad_weight;
    if (ctx->saved_data["weight"].toBool()) {
      grad_weight = at::sum(at::mul(grads[0], x).mul_(inverse), at::IntArrayRef{0});
    }
    if (ctx->saved_data["x"].toBool()) {
      at::Tensor h = at::mul(grads[0], saved[1]);
      at::Tensor along = at::sum(at::mul(h, x), at::IntArrayRef{-1}, /*keepdim=*/true);
      along.mul_(inverse).mul_(inverse).mul_(-1.0 / static_cast<double>(x.size(-1)));
      grad_x = h.addcmul_(x, along).mul_(inverse);
    }
    return {grad_x, grad_weight, at::Tensor()};
  }
};

struct RotateFunction : torch::autograd::Function<RotateFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    const int64_t half = x.size(-1) / 2;
    return at::mul(x, cos).addcmul_(at::roll(x, {half}, {-1}), sin);
  }

  // Swapping the halves is its own inverse and transpose.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const int64_t half = grads[0].size(-1) / 2;
    at::Tensor grad = at::roll(at::mul(grads[0], saved[1]), {half}, {-1});
    grad.addcmul_(grads[0], saved[0]);
    return {grad, at::Tensor(), at::Tensor()};
  }
};

// Keeps gate and up; silu(gate) is computed again.
struct SiluTimesFunction : torch::autograd::Function<SiluTimesFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up) {
    ctx->save_for_backward({gate, up});
    return at::silu(gate).mul_(up);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    at::Tensor grad_up = at::silu(saved[0]).mul_(grads[0]);
    at::Tensor grad_gate = at::silu_backward(at::mul(grads[0], saved[1]), saved[0]);
    return {grad_gate, grad_up};
  }
};

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (at::GradMode::is_enabled()) return RmsNormFunction::apply(x, weight, eps);
  return at::mul(x, InverseRms(x, eps)).mul_(weight);
}

at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  if (at::GradMode::is_enabled()) return RotateFunction::apply(x, cos, sin);
  return at::mul(x, cos).addcmul_(at::roll(x, {x.size(-1) / 2}, {-1}), sin);
}

at::Tensor SiluTimes(const at::Tensor& gate, const at::Tensor& up) {
  if (at::GradMode::is_enabled()) return SiluTimesFunction::apply(gate, up);
  return at::silu(gate).mul_(up);
}

at::Tensor Activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kGeluErf:
      return at::gelu(x, "none");
    case Activation::kRelu:
      return at::relu(x);
  }
  ISTHMUS_CHECK(false);
  return x;
}

}  // namespace isthmus
