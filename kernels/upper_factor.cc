// H = R R^T with R upper: Cholesky from the last column on. Then H^-1 = R^-T R^-1, so U = R^-1, and
// no inverse of H is formed.
#include "kernels/upper_factor.h"

#include <algorithm>
#include <cmath>

namespace isthmus {
namespace {

constexpr int64_t kRun = 32;  // rows or columns of one turn of a thread

// Four sums, so that one addition need not wait for the last.
double Dot(const double* a, const double* b, int64_t n) {
  double sums[4] = {0.0, 0.0, 0.0, 0.0};
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int lane = 0; lane < 4; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

bool FactorUpper(int64_t n, double* h, ThreadPool* pool) {
  for (int64_t j = n - 1; j >= 0; --j) {
    double* row = h + j * n;
    const int64_t behind = n - 1 - j;
    const double pivot = row[j] - Dot(row + j + 1, row + j + 1, behind);
    if (!(pivot > 0.0) || !std::isfinite(pivot)) return false;
    row[j] = std::sqrt(pivot);
    ParallelFor(pool, (j + kRun - 1) / kRun, [&](int64_t run, int) {
      for (int64_t i = run * kRun; i < std::min(j, (run + 1) * kRun); ++i) {
        double* other = h + i * n;
        other[j] = (other[j] - Dot(other + j + 1, row + j + 1, behind)) / row[j];
      }
    });
  }
  return true;
}

// Columns of the inverse do not depend on each other: row i of it is (e_i - sum over k > i of
// R[i][k] x row k) / R[i][i], and takes the place of R's row i, whose values are copied first.
void InvertUpper(int64_t n, double* r, ThreadPool* pool) {
  std::vector<double> factors(static_cast<size_t>(n));
  for (int64_t i = n - 1; i >= 0; --i) {
    double* row = r + i * n;
    std::copy(row + i, row + n, factors.begin() + i);
    const double scale = 1.0 / factors[static_cast<size_t>(i)];
    ParallelFor(pool, (n - i + kRun - 1) / kRun, [&](int64_t run, int) {
      const int64_t begin = i + run * kRun, end = std::min(n, begin + kRun);
      std::fill(row + begin, row + end, 0.0);
      for (int64_t k = i + 1; k < end; ++k) {
        const double factor = factors[static_cast<size_t>(k)];
        const double* other = r + k * n;
        for (int64_t c = std::max(begin, k); c < end; ++c) row[c] -= factor * other[c];
      }
      for (int64_t c = begin; c < end; ++c) row[c] *= scale;
      if (begin == i) row[i] = scale;
    });
  }
}

}  // namespace

bool InvertToUpperFactor(int64_t n, std::vector<double>* matrix, ThreadPool* pool) {
  if (!FactorUpper(n, matrix->data(), pool)) return false;
  InvertUpper(n, matrix->data(), pool);
  for (int64_t i = 1; i < n; ++i) std::fill_n(matrix->begin() + i * n, i, 0.0);
  return true;
}

}  // namespace isthmus
