// RMSNorm (Zhang and Sennrich, 2019) and LayerNorm (Ba et al., 2016) of rows, forward and backward.
//
// Rows are contiguous, [rows, width] fp32. A row's result depends on that row alone. Gradients of
// the weights add up over the rows in their order.
#ifndef ISTHMUS_KERNELS_NORM_H_
#define ISTHMUS_KERNELS_NORM_H_

#include <cstdint>

namespace isthmus::kernels {

struct NormRows {
  int64_t rows = 0;
  int64_t width = 0;
  float eps = 0.0f;
};

// Where a norm puts its rows as 8-bit integers, in one pass over each: the codes [rows][padded] and
// scales [rows] that QuantizeRows (quantized_rows.h) makes of y, bit for bit; codes behind the
// width are 0.
struct CodeRows {
  int8_t* codes = nullptr;
  float* scales = nullptr;
  int64_t padded = 0;
};

// y = x * inverse * weight with inverse = 1 / sqrt(mean(x^2) + eps), kept for the backward pass:
// [rows].
void RmsNorm(const NormRows& shape, const float* x, const float* weight, float* y, float* inverse);
// The same to codes; y is written unless it is null.
void RmsNormQuantized(const NormRows& shape, const float* x, const float* weight, float* y,
                      float* inverse, const CodeRows& out);
// y from a kept `inverse`.
void RmsNormAgain(const NormRows& shape, const float* x, const float* inverse, const float* weight,
                  float* y);
// Adds the gradient of x to `dx`, and that of the weight to `dweight` unless it is null.
void AddRmsNormGradient(const NormRows& shape, const float* x, const float* inverse,
                        const float* weight, const float* dy, float* dx, float* dweight);

// y = (x - mean) * inverse * weight + bias with inverse = 1 / sqrt(variance + eps); mean and
// inverse [rows].
void LayerNorm(const NormRows& shape, const float* x, const float* weight, const float* bias,
               float* y, float* mean, float* inverse);
void LayerNormQuantized(const NormRows& shape, const float* x, const float* weight,
                        const float* bias, float* y, float* mean, float* inverse,
                        const CodeRows& out);
void LayerNormAgain(const NormRows& shape, const float* x, const float* mean, const float* inverse,
                    const float* weight, const float* bias, float* y);
// dweight and dbias: both or none.
void AddLayerNormGradient(const NormRows& shape, const float* x, const float* mean,
                          const float* inverse, const float* weight, const float* dy, float* dx,
                          float* dweight, float* dbias);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_NORM_H_
