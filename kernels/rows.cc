// Plain loops that the compiler vectorises: all are bound by memory, not by arithmetic.
#include "kernels/rows.h"

namespace isthmus::kernels {

void AddElements(const float* a, const float* b, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = a[i] + b[i];
}

void MultiplyElements(const float* a, const float* b, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = a[i] * b[i];
}

void ScaleElements(float factor, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] *= factor;
}

void AddToRows(const float* row, int64_t rows, int64_t width, float* y) {
  for (int64_t r = 0; r < rows; ++r) AddElements(y + r * width, row, width, y + r * width);
}

void AddRowSum(const float* x, int64_t rows, int64_t width, float* sum) {
  for (int64_t r = 0; r < rows; ++r) AddElements(sum, x + r * width, width, sum);
}

double SumOfSquares(const float* x, int64_t count) {
  // Eight independent sums, so that the additions do not wait for each other.
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int64_t j = 0; j < 8; ++j) sums[j] += static_cast<double>(x[i + j]) * x[i + j];
  }
  double sum = 0.0;
  for (double part : sums) sum += part;
  for (; i < count; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace isthmus::kernels
