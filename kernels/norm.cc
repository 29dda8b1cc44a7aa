#include "kernels/norm.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

using kernels::NormRows;

// sum of (x - mean)^2 over a row.
float SquaresAround(const float* x, int64_t width, float mean) {
  const RowTag d;
  const RowVector around = hn::Set(d, mean);
  RowVector sum = hn::Zero(d);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    const RowVector v = hn::Sub(hn::LoadU(d, x + i), around);
    sum = hn::MulAdd(v, v, sum);
  }
  float rest = 0.0f;
  for (; i < width; ++i) rest += (x[i] - mean) * (x[i] - mean);
  return SumOf(d, sum) + rest;
}

float MeanOf(const float* x, int64_t width) {
  const RowTag d;
  RowVector sum = hn::Zero(d);
  ForVectors(d, width, [&](int64_t i, int64_t n) { sum = hn::Add(sum, LoadSome(d, x + i, n)); });
  return SumOf(d, sum) / static_cast<float>(width);
}

float InverseRoot(float squares, const NormRows& shape) {
  return 1.0f / std::sqrt(squares / static_cast<float>(shape.width) + shape.eps);
}

void RmsScale(const NormRows& shape, const float* x, const float* weight, float inverse, float* y) {
  const RowTag d;
  const RowVector factor = hn::Set(d, inverse);
  ForVectors(d, shape.width, [&](int64_t i, int64_t n) {
    const RowVector scaled = hn::Mul(LoadSome(d, x + i, n), factor);
    StoreSome(hn::Mul(scaled, LoadSome(d, weight + i, n)), d, y + i, n);
  });
}

void RmsNormRows(const NormRows& shape, const float* x, const float* weight, float* y,
                 float* inverse) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width) {
    inverse[r] = InverseRoot(SquaresAround(x, shape.width, 0.0f), shape);
    RmsScale(shape, x, weight, inverse[r], y);
  }
}

void RmsNormAgainRows(const NormRows& shape, const float* x, const float* inverse,
                      const float* weight, float* y) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width)
    RmsScale(shape, x, weight, inverse[r], y);
}

// With h = dy * weight and r the inverse: dx = r h - x r^3 / width * <h, x>.
void RmsGradientRow(const NormRows& shape, const float* x, float inverse, const float* weight,
                    const float* dy, float* dx, float* dweight) {
  const RowTag d;
  RowVector along = hn::Zero(d);
  ForVectors(d, shape.width, [&](int64_t i, int64_t n) {
    const RowVector h = hn::Mul(LoadSome(d, dy + i, n), LoadSome(d, weight + i, n));
    along = hn::MulAdd(h, LoadSome(d, x + i, n), along);
  });
  const float share =
      -SumOf(d, along) * inverse * inverse * inverse / static_cast<float>(shape.width);
  const RowVector r = hn::Set(d, inverse), back = hn::Set(d, share);
  ForVectors(d, shape.width, [&](int64_t i, int64_t n) {
    const RowVector g = LoadSome(d, dy + i, n), v = LoadSome(d, x + i, n);
    const RowVector h = hn::Mul(g, LoadSome(d, weight + i, n));
    const RowVector add = hn::MulAdd(v, back, hn::Mul(h, r));
    StoreSome(hn::Add(LoadSome(d, dx + i, n), add), d, dx + i, n);
    if (dweight == nullptr) return;
    StoreSome(hn::MulAdd(hn::Mul(v, r), g, LoadSome(d, dweight + i, n)), d, dweight + i, n);
  });
}

void RmsGradientRows(const NormRows& shape, const float* x, const float* inverse,
                     const float* weight, const float* dy, float* dx, float* dweight) {
  for (int64_t r = 0; r < shape.rows; ++r) {
    const int64_t at = r * shape.width;
    RmsGradientRow(shape, x + at, inverse[r], weight, dy + at, dx + at, dweight);
  }
}

void LayerScale(const NormRows& shape, const float* x, float mean, float inverse,
                const float* weight, const float* bias, float* y) {
  const RowTag d;
  const RowVector m = hn::Set(d, mean), factor = hn::Set(d, inverse);
  ForVectors(d, shape.width, [&](int64_t i, int64_t n) {
    const RowVector normal = hn::Mul(hn::Sub(LoadSome(d, x + i, n), m), factor);
    const RowVector out = hn::MulAdd(normal, LoadSome(d, weight + i, n), LoadSome(d, bias + i, n));
    StoreSome(out, d, y + i, n);
  });
}

void LayerNormRows(const NormRows& shape, const float* x, const float* weight, const float* bias,
                   float* y, float* mean, float* inverse) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width) {
    mean[r] = MeanOf(x, shape.width);
    inverse[r] = InverseRoot(SquaresAround(x, shape.width, mean[r]), shape);
    LayerScale(shape, x, mean[r], inverse[r], weight, bias, y);
  }
}

void LayerNormAgainRows(const NormRows& shape, const float* x, const float* mean,
                        const float* inverse, const float* weight, const float* bias, float* y) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width)
    LayerScale(shape, x, mean[r], inverse[r], weight, bias, y);
}

// With n = (x - mean) r and h = dy * weight: dx = r (h - mean(h) - n mean(h n)).
void LayerGradientRow(const NormRows& shape, const float* x, float mean, float inverse,
                      const float* weight, const float* dy, float* dx, float* dweight,
                      float* dbias) {
  const RowTag d;
  const RowVector m = hn::Set(d, mean), r = hn::Set(d, inverse);
  RowVector sum = hn::Zero(d), along = hn::Zero(d);
  ForVectors(d, shape.width, [&](int64_t i, int64_t n) {
    const RowVector h = hn::Mul(LoadSome(d, dy + i, n), LoadSome(d, weight + i, n));
    sum = hn::Add(sum, h);
    along = hn::MulAdd(h, hn::Mul(hn::Sub(LoadSome(d, x + i, n), m), r), along);
  });
  const float share = 1.0f / static_cast<float>(shape.width);
  const RowVector mean_h = hn::Set(d, SumOf(d, sum) * share);
  const RowVector mean_hn = hn::Set(d, SumOf(d, along) * share);
  ForVectors(d, shape.width, [&](int64_t i, int64_t n) {
    const RowVector g = LoadSome(d, dy + i, n);
    const RowVector normal = hn::Mul(hn::Sub(LoadSome(d, x + i, n), m), r);
    const RowVector h = hn::Mul(g, LoadSome(d, weight + i, n));
    const RowVector inner = hn::Sub(hn::Sub(h, mean_h), hn::Mul(normal, mean_hn));
    StoreSome(hn::MulAdd(inner, r, LoadSome(d, dx + i, n)), d, dx + i, n);
    if (dweight == nullptr) return;
    StoreSome(hn::MulAdd(normal, g, LoadSome(d, dweight + i, n)), d, dweight + i, n);
    StoreSome(hn::Add(LoadSome(d, dbias + i, n), g), d, dbias + i, n);
  });
}

void LayerGradientRows(const NormRows& shape, const float* x, const float* mean,
                       const float* inverse, const float* weight, const float* dy, float* dx,
                       float* dweight, float* dbias) {
  for (int64_t r = 0; r < shape.rows; ++r) {
    const int64_t at = r * shape.width;
    LayerGradientRow(shape, x + at, mean[r], inverse[r], weight, dy + at, dx + at, dweight, dbias);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(RmsNormRows);
HWY_EXPORT(RmsNormAgainRows);
HWY_EXPORT(RmsGradientRows);
HWY_EXPORT(LayerNormRows);
HWY_EXPORT(LayerNormAgainRows);
HWY_EXPORT(LayerGradientRows);
}  // namespace

namespace kernels {

void RmsNorm(const NormRows& shape, const float* x, const float* weight, float* y, float* inverse) {
  HWY_DYNAMIC_DISPATCH(RmsNormRows)(shape, x, weight, y, inverse);
}

void RmsNormAgain(const NormRows& shape, const float* x, const float* inverse, const float* weight,
                  float* y) {
  HWY_DYNAMIC_DISPATCH(RmsNormAgainRows)(shape, x, inverse, weight, y);
}

void AddRmsNormGradient(const NormRows& shape, const float* x, const float* inverse,
                        const float* weight, const float* dy, float* dx, float* dweight) {
  HWY_DYNAMIC_DISPATCH(RmsGradientRows)(shape, x, inverse, weight, dy, dx, dweight);
}

void LayerNorm(const NormRows& shape, const float* x, const float* weight, const float* bias,
               float* y, float* mean, float* inverse) {
  HWY_DYNAMIC_DISPATCH(LayerNormRows)(shape, x, weight, bias, y, mean, inverse);
}

void LayerNormAgain(const NormRows& shape, const float* x, const float* mean, const float* inverse,
                    const float* weight, const float* bias, float* y) {
  HWY_DYNAMIC_DISPATCH(LayerNormAgainRows)(shape, x, mean, inverse, weight, bias, y);
}

void AddLayerNormGradient(const NormRows& shape, const float* x, const float* mean,
                          const float* inverse, const float* weight, const float* dy, float* dx,
                          float* dweight, float* dbias) {
  HWY_DYNAMIC_DISPATCH(LayerGradientRows)(shape, x, mean, inverse, weight, dy, dx, dweight, dbias);
}

}  // namespace kernels
}  // namespace isthmus
#endif  // HWY_ONCE
