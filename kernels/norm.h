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

// y = x * inverse * weight with inverse = 1 / sqrt(mean(x^2) + eps), kept for the backward pass:
// [rows].
void RmsNorm(const NormRows& shape, const float* x, const float* weight, float* y, float* inverse);
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
void LayerNormAgain(const NormRows& shape, const float* x, const float* mean, const float* inverse,
                    const float* weight, const float* bias, float* y);
// dweight and dbias: both or none.
void AddLayerNormGradient(const NormRows& shape, const float* x, const float* mean,
                          const float* inverse, const float* weight, const float* dy, float* dx,
                          float* dweight, float* dbias);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_NORM_H_
