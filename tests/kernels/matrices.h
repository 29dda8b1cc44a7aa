// Random matrices and float64 products for the kernels' tests.
#ifndef ISTHMUS_TESTS_KERNELS_MATRICES_H_
#define ISTHMUS_TESTS_KERNELS_MATRICES_H_

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace isthmus {

inline std::vector<float> RandomFloats(int64_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

// c [m, n] = a [m, k] w^T, w [n, k].
inline std::vector<double> ProductNT(const std::vector<float>& a, const std::vector<float>& w,
                                     int64_t m, int64_t n, int64_t k) {
  std::vector<double> c(m * n, 0.0);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t l = 0; l < k; ++l) c[i * n + j] += double{a[i * k + l]} * w[j * k + l];
    }
  }
  return c;
}

inline std::vector<float> Transposed(const std::vector<float>& w, int64_t rows, int64_t columns) {
  std::vector<float> t(w.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) t[j * rows + i] = w[i * columns + j];
  }
  return t;
}

// |a - b| / |b| over all elements (root of summed squares).
inline double RelativeError(const std::vector<float>& a, const std::vector<double>& b) {
  double error = 0.0, norm = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm > 0.0 ? std::sqrt(error / norm) : std::sqrt(error);
}

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_KERNELS_MATRICES_H_
