#include "engine/torch/linear.h"

namespace isthmus {

at::Tensor MatMul(const at::Tensor& x, const at::Tensor& weight, bool transposed,
                  at::ScalarType compute) {
  const at::Tensor w = weight.to(compute);  // the same tensor when nothing changes
  return at::mm(x.to(compute), transposed ? w : w.t()).to(at::kFloat);
}

at::Tensor Apply(const Linear& linear, const at::Tensor& x, const DropoutKey& dropout,
                 at::ScalarType compute) {
  at::Tensor y;
  if (linear.bias.defined() && compute == at::kFloat) {
    y = at::addmm(linear.bias, x, linear.transposed ? linear.weight : linear.weight.t());
  } else {
    y = MatMul(x, linear.weight, linear.transposed, compute);
    if (linear.bias.defined()) y = at::add(y, linear.bias);
  }
  if (!linear.lora_a.defined()) return y;
  at::Tensor in = x;
  if (dropout.rate > 0.0) {
    in = at::mul(x, DropoutMask(dropout, linear.layer, linear.module, x.size(1), x.device()));
  }
  const at::Tensor low = MatMul(in, linear.lora_a, /*transposed=*/false, compute);
  if (compute == at::kFloat) {
    return at::addmm(y, low, linear.lora_b.t(), /*beta=*/1, /*alpha=*/linear.lora_scale);
  }
  const at::Tensor update = MatMul(low, linear.lora_b, /*transposed=*/false, compute);
  return at::add(y, update, linear.lora_scale);
}

}  // namespace isthmus
