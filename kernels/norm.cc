#include "kernels/norm.h"

#include <cmath>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

using kernels::CodeRows;
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

// A row of y, a vector at a time: n elements from i on.
struct RmsRow {
  const float* x;
  const float* weight;
  RowVector inverse;
  HWY_INLINE RowVector At(RowTag d, int64_t i, int64_t n) const {
    return hn::Mul(hn::Mul(LoadSome(d, x + i, n), inverse), LoadSome(d, weight + i, n));
  }
};

struct LayerRow {
  const float* x;
  const float* weight;
  const float* bias;
  RowVector mean;
  RowVector inverse;
  HWY_INLINE RowVector At(RowTag d, int64_t i, int64_t n) const {
    const RowVector normal = hn::Mul(hn::Sub(LoadSome(d, x + i, n), mean), inverse);
    return hn::MulAdd(normal, LoadSome(d, weight + i, n), LoadSome(d, bias + i, n));
  }
};

template <typename Row>
HWY_INLINE void WriteRow(const Row& row, int64_t width, float* y) {
  const RowTag d;
  ForVectors(d, width, [&](int64_t i, int64_t n) { StoreSome(row.At(d, i, n), d, y + i, n); });
}

// The largest magnitude of a row as its bits, which order like magnitudes; a NaN is the largest of
// all. Writes y on the way unless it is null.
template <typename Row>
HWY_INLINE int32_t LargestBits(const Row& row, int64_t width, float* y) {
  const RowTag d;
  const hn::RebindToSigned<RowTag> di;
  const auto magnitude = hn::Set(di, 0x7FFFFFFF);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(di);
  ForVectors(d, width, [&](int64_t i, int64_t n) {
    const RowVector v = row.At(d, i, n);
    if (y != nullptr) StoreSome(v, d, y + i, n);
    const auto bits = hn::And(hn::BitCast(di, v), magnitude);
    largest = hn::Max(largest, n >= lanes ? bits : hn::IfThenElseZero(hn::FirstN(di, n), bits));
  });
  return hn::GetLane(hn::MaxOfLanes(di, largest));
}

// Codes of a row for a scale that is neither 0 nor NaN; rounds to nearest, ties to even.
template <typename Row>
HWY_INLINE void WriteCodes(const Row& row, int64_t width, float inverse_scale, int8_t* codes) {
  const RowTag d;
  const hn::Rebind<int8_t, RowTag> bytes;
  const RowVector factor = hn::Set(d, inverse_scale);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  ForVectors(d, width, [&](int64_t i, int64_t n) {
    const auto code = hn::DemoteTo(bytes, hn::NearestInt(hn::Mul(row.At(d, i, n), factor)));
    if (n >= lanes) return hn::StoreU(code, bytes, codes + i);
    HWY_ALIGN int8_t part[16];
    hn::Store(code, bytes, part);
    std::memcpy(codes + i, part, static_cast<size_t>(n));
  });
}

// Row r of `out`, by the rules of KernelTable::quantize_row (portable-inl.h).
template <typename Row>
HWY_INLINE void QuantizeRow(const Row& row, int64_t width, float* y, const CodeRows& out,
                            int64_t r) {
  int8_t* const codes = out.codes + r * out.padded;
  const int32_t bits = LargestBits(row, width, y);
  float largest;
  std::memcpy(&largest, &bits, sizeof(largest));
  if (bits >= 0x7F800000 || largest < 1e-30f) {
    out.scales[r] = bits >= 0x7F800000 ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
    std::memset(codes, 0, static_cast<size_t>(out.padded));
    return;
  }
  out.scales[r] = largest / 127.0f;
  WriteCodes(row, width, 127.0f / largest, codes);
  std::memset(codes + width, 0, static_cast<size_t>(out.padded - width));
}

void RmsNormRows(const NormRows& shape, const float* x, const float* weight, float* y,
                 float* inverse) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width) {
    inverse[r] = InverseRoot(SquaresAround(x, shape.width, 0.0f), shape);
    WriteRow(RmsRow{x, weight, hn::Set(RowTag(), inverse[r])}, shape.width, y);
  }
}

void RmsNormQuantizedRows(const NormRows& shape, const float* x, const float* weight, float* y,
                          float* inverse, const CodeRows& out) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width) {
    inverse[r] = InverseRoot(SquaresAround(x, shape.width, 0.0f), shape);
    QuantizeRow(RmsRow{x, weight, hn::Set(RowTag(), inverse[r])}, shape.width,
                y == nullptr ? nullptr : y + r * shape.width, out, r);
  }
}

void RmsNormAgainRows(const NormRows& shape, const float* x, const float* inverse,
                      const float* weight, float* y) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width)
    WriteRow(RmsRow{x, weight, hn::Set(RowTag(), inverse[r])}, shape.width, y);
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

LayerRow LayerRowOf(const float* x, const float* weight, const float* bias, float mean,
                    float inverse) {
  return {x, weight, bias, hn::Set(RowTag(), mean), hn::Set(RowTag(), inverse)};
}

void LayerNormRows(const NormRows& shape, const float* x, const float* weight, const float* bias,
                   float* y, float* mean, float* inverse) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width) {
    mean[r] = MeanOf(x, shape.width);
    inverse[r] = InverseRoot(SquaresAround(x, shape.width, mean[r]), shape);
    WriteRow(LayerRowOf(x, weight, bias, mean[r], inverse[r]), shape.width, y);
  }
}

void LayerNormQuantizedRows(const NormRows& shape, const float* x, const float* weight,
                            const float* bias, float* y, float* mean, float* inverse,
                            const CodeRows& out) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width) {
    mean[r] = MeanOf(x, shape.width);
    inverse[r] = InverseRoot(SquaresAround(x, shape.width, mean[r]), shape);
    QuantizeRow(LayerRowOf(x, weight, bias, mean[r], inverse[r]), shape.width,
                y == nullptr ? nullptr : y + r * shape.width, out, r);
  }
}

void LayerNormAgainRows(const NormRows& shape, const float* x, const float* mean,
                        const float* inverse, const float* weight, const float* bias, float* y) {
  for (int64_t r = 0; r < shape.rows; ++r, x += shape.width, y += shape.width)
    WriteRow(LayerRowOf(x, weight, bias, mean[r], inverse[r]), shape.width, y);
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
HWY_EXPORT(RmsNormQuantizedRows);
HWY_EXPORT(RmsNormAgainRows);
HWY_EXPORT(RmsGradientRows);
HWY_EXPORT(LayerNormRows);
HWY_EXPORT(LayerNormQuantizedRows);
HWY_EXPORT(LayerNormAgainRows);
HWY_EXPORT(LayerGradientRows);
}  // namespace

namespace kernels {

void RmsNorm(const NormRows& shape, const float* x, const float* weight, float* y, float* inverse) {
  HWY_DYNAMIC_DISPATCH(RmsNormRows)(shape, x, weight, y, inverse);
}

void RmsNormQuantized(const NormRows& shape, const float* x, const float* weight, float* y,
                      float* inverse, const CodeRows& out) {
  HWY_DYNAMIC_DISPATCH(RmsNormQuantizedRows)(shape, x, weight, y, inverse, out);
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

void LayerNormQuantized(const NormRows& shape, const float* x, const float* weight,
                        const float* bias, float* y, float* mean, float* inverse,
                        const CodeRows& out) {
  HWY_DYNAMIC_DISPATCH(LayerNormQuantizedRows)(shape, x, weight, bias, y, mean, inverse, out);
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
