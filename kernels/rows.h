// Element-wise loops over rows, fp32.
#ifndef ISTHMUS_KERNELS_ROWS_H_
#define ISTHMUS_KERNELS_ROWS_H_

#include <cstdint>

namespace isthmus::kernels {

// y = a + b, y = a * b, y = factor * y; y may be a or b.
void AddElements(const float* a, const float* b, int64_t count, float* y);
void MultiplyElements(const float* a, const float* b, int64_t count, float* y);
void ScaleElements(float factor, int64_t count, float* y);
// Adds `row` [width] to every row of y [rows, width].
void AddToRows(const float* row, int64_t rows, int64_t width, float* y);
// Adds the rows of x [rows, width] to `sum` [width], in their order.
void AddRowSum(const float* x, int64_t rows, int64_t width, float* sum);
// Sum of squares in double, element by element.
double SumOfSquares(const float* x, int64_t count);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_ROWS_H_
