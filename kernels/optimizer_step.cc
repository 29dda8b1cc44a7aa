#include "kernels/optimizer_step.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer_step.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

using kernels::AdamWStep;
using kernels::SgdStep;

void AdamWRun(const AdamWStep& step, int64_t count, const float* gradients, float* values,
              float* means, float* squares) {
  const RowTag d;
  const auto set = [&d](double value) { return hn::Set(d, static_cast<float>(value)); };
  const double steps = static_cast<double>(step.step);
  const RowVector scale = set(step.gradient_scale);
  const RowVector kept = set(1.0 - step.lr * step.weight_decay);
  const RowVector beta1 = set(step.beta1), rest1 = set(1.0 - step.beta1);
  const RowVector beta2 = set(step.beta2), rest2 = set(1.0 - step.beta2);
  const RowVector rate = set(step.lr / (1.0 - std::pow(step.beta1, steps)));
  const RowVector root = set(1.0 / std::sqrt(1.0 - std::pow(step.beta2, steps)));
  const RowVector eps = set(step.eps);
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    const RowVector g = hn::Mul(LoadSome(d, gradients + i, n), scale);
    const RowVector m = hn::MulAdd(LoadSome(d, means + i, n), beta1, hn::Mul(g, rest1));
    const RowVector v =
        hn::MulAdd(LoadSome(d, squares + i, n), beta2, hn::Mul(hn::Mul(g, g), rest2));
    const RowVector below = hn::MulAdd(hn::Sqrt(v), root, eps);
    const RowVector p = hn::Mul(LoadSome(d, values + i, n), kept);
    StoreSome(m, d, means + i, n);
    StoreSome(v, d, squares + i, n);
    StoreSome(hn::NegMulAdd(hn::Div(m, below), rate, p), d, values + i, n);
  });
}

void SgdRun(const SgdStep& step, int64_t count, const float* gradients, float* values,
            float* velocities) {
  const RowTag d;
  const auto set = [&d](double value) { return hn::Set(d, static_cast<float>(value)); };
  const RowVector scale = set(step.gradient_scale), lr = set(step.lr);
  const RowVector kept = set(1.0 - step.lr * step.weight_decay), momentum = set(step.momentum);
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    RowVector g = hn::Mul(LoadSome(d, gradients + i, n), scale);
    if (velocities != nullptr) {
      g = hn::MulAdd(LoadSome(d, velocities + i, n), momentum, g);
      StoreSome(g, d, velocities + i, n);
    }
    const RowVector p = hn::Mul(LoadSome(d, values + i, n), kept);
    StoreSome(hn::NegMulAdd(g, lr, p), d, values + i, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(AdamWRun);
HWY_EXPORT(SgdRun);
}  // namespace

namespace kernels {

void AdamW(const AdamWStep& step, int64_t count, const float* gradients, float* values,
           float* means, float* squares) {
  HWY_DYNAMIC_DISPATCH(AdamWRun)(step, count, gradients, values, means, squares);
}

void Sgd(const SgdStep& step, int64_t count, const float* gradients, float* values,
         float* velocities) {
  HWY_DYNAMIC_DISPATCH(SgdRun)(step, count, gradients, values, velocities);
}

}  // namespace kernels
}  // namespace isthmus
#endif  // HWY_ONCE
