#include "kernels/activation.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

using kernels::Curve;

// A curve is a struct with Value(d, x) and Slope(d, x).
HWY_INLINE RowVector Sigmoid(RowTag d, RowVector x) {
  const RowVector one = hn::Set(d, 1.0f);
  // Beyond 80 the sum is e^80 to fp32's last bit or nearly zero in its inverse: no overflow.
  const RowVector inverse = hn::Exp(d, hn::Min(hn::Neg(x), hn::Set(d, 80.0f)));
  return hn::Div(one, hn::Add(one, inverse));
}

struct SiluCurve {
  static HWY_INLINE RowVector Value(RowTag d, RowVector x) { return hn::Mul(x, Sigmoid(d, x)); }
  static HWY_INLINE RowVector Slope(RowTag d, RowVector x) {
    const RowVector s = Sigmoid(d, x);
    const RowVector one = hn::Set(d, 1.0f);
    return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
  }
};

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), with 0.5 (1 + tanh z) = sigmoid(2 z).
struct GeluTanhCurve {
  static constexpr float kRoot = 0.7978845608028654f, kCube = 0.044715f;
  static HWY_INLINE RowVector Share(RowTag d, RowVector x) {
    const RowVector squared = hn::Mul(x, x);
    const RowVector inner = hn::MulAdd(hn::Set(d, kCube), squared, hn::Set(d, 1.0f));
    return Sigmoid(d, hn::Mul(hn::Mul(hn::Set(d, 2.0f * kRoot), x), inner));
  }
  static HWY_INLINE RowVector Value(RowTag d, RowVector x) { return hn::Mul(x, Share(d, x)); }
  static HWY_INLINE RowVector Slope(RowTag d, RowVector x) {
    const RowVector s = Share(d, x);
    const RowVector one = hn::Set(d, 1.0f);
    const RowVector dz =
        hn::Mul(hn::Set(d, 2.0f * kRoot), hn::MulAdd(hn::Set(d, 3.0f * kCube), hn::Mul(x, x), one));
    return hn::Mul(s, hn::MulAdd(hn::Mul(x, hn::Sub(one, s)), dz, one));
  }
};

// erf has no vector form here; libm's, lane by lane.
struct GeluErfCurve {
  template <typename Function>
  static HWY_INLINE RowVector Lanewise(RowTag d, RowVector x, Function&& function) {
    HWY_ALIGN float lanes[16];
    hn::Store(x, d, lanes);
    for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = function(lanes[i]);
    return hn::Load(d, lanes);
  }
  static float Normal(float x) { return 0.5f * (1.0f + std::erf(x * 0.7071067811865475f)); }
  static HWY_INLINE RowVector Value(RowTag d, RowVector x) {
    return Lanewise(d, x, [](float v) { return v * Normal(v); });
  }
  static HWY_INLINE RowVector Slope(RowTag d, RowVector x) {
    return Lanewise(d, x, [](float v) {
      return Normal(v) + v * 0.3989422804014327f * std::exp(-0.5f * v * v);
    });
  }
};

struct ReluCurve {
  static HWY_INLINE RowVector Value(RowTag d, RowVector x) { return hn::Max(x, hn::Zero(d)); }
  static HWY_INLINE RowVector Slope(RowTag d, RowVector x) {
    return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f));
  }
};

template <typename Function>
void WithCurve(Curve curve, Function&& function) {
  switch (curve) {
    case Curve::kSilu:
      return function(SiluCurve());
    case Curve::kGeluTanh:
      return function(GeluTanhCurve());
    case Curve::kGeluErf:
      return function(GeluErfCurve());
    case Curve::kRelu:
      return function(ReluCurve());
  }
}

void ActivateAll(Curve curve, const float* x, int64_t count, float* y) {
  WithCurve(curve, [&](auto c) {
    const RowTag d;
    ForVectors(d, count, [&](int64_t i, int64_t n) {
      StoreSome(c.Value(d, LoadSome(d, x + i, n)), d, y + i, n);
    });
  });
}

void ActivateGradientAll(Curve curve, const float* x, const float* dy, int64_t count, float* dx) {
  WithCurve(curve, [&](auto c) {
    const RowTag d;
    ForVectors(d, count, [&](int64_t i, int64_t n) {
      const RowVector slope = c.Slope(d, LoadSome(d, x + i, n));
      StoreSome(hn::Mul(LoadSome(d, dy + i, n), slope), d, dx + i, n);
    });
  });
}

void GateAll(Curve curve, const float* gate, const float* up, int64_t count, float* y) {
  WithCurve(curve, [&](auto c) {
    const RowTag d;
    ForVectors(d, count, [&](int64_t i, int64_t n) {
      const RowVector value = c.Value(d, LoadSome(d, gate + i, n));
      StoreSome(hn::Mul(value, LoadSome(d, up + i, n)), d, y + i, n);
    });
  });
}

void GateGradientAll(Curve curve, const float* gate, const float* up, const float* dy,
                     int64_t count, float* dgate, float* dup) {
  WithCurve(curve, [&](auto c) {
    const RowTag d;
    ForVectors(d, count, [&](int64_t i, int64_t n) {
      const RowVector g = LoadSome(d, gate + i, n), u = LoadSome(d, up + i, n);
      const RowVector grad = LoadSome(d, dy + i, n);
      StoreSome(hn::Mul(hn::Mul(grad, u), c.Slope(d, g)), d, dgate + i, n);
      StoreSome(hn::Mul(grad, c.Value(d, g)), d, dup + i, n);
    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(ActivateAll);
HWY_EXPORT(ActivateGradientAll);
HWY_EXPORT(GateAll);
HWY_EXPORT(GateGradientAll);
}  // namespace

namespace kernels {

void Activate(Curve curve, const float* x, int64_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(ActivateAll)(curve, x, count, y);
}

void ActivateGradient(Curve curve, const float* x, const float* dy, int64_t count, float* dx) {
  HWY_DYNAMIC_DISPATCH(ActivateGradientAll)(curve, x, dy, count, dx);
}

void Gate(Curve curve, const float* gate, const float* up, int64_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(GateAll)(curve, gate, up, count, y);
}

void GateGradient(Curve curve, const float* gate, const float* up, const float* dy, int64_t count,
                  float* dgate, float* dup) {
  HWY_DYNAMIC_DISPATCH(GateGradientAll)(curve, gate, up, dy, count, dgate, dup);
}

}  // namespace kernels
}  // namespace isthmus
#endif  // HWY_ONCE
