#include "compression/eigen.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace isthmus {
namespace {

void RotateRows(double* p, double* q, size_t n, double c, double s) {
  for (size_t k = 0; k < n; ++k) {
    const double x = p[k], y = q[k];
    p[k] = c * x - s * y;
    q[k] = s * x + c * y;
  }
}

void RotateColumns(double* a, size_t n, size_t p, size_t q, double c, double s) {
  for (size_t k = 0; k < n; ++k) {
    const double x = a[k * n + p], y = a[k * n + q];
    a[k * n + p] = c * x - s * y;
    a[k * n + q] = s * x + c * y;
  }
}

// One rotation that makes a[p][q] zero.
void Rotate(size_t n, size_t p, size_t q, double* a, double* vectors) {
  const double off = a[p * n + q];
  const double theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
  const double t = (theta >= 0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1.0));
  const double c = 1.0 / std::sqrt(t * t + 1.0), s = t * c;
  RotateRows(a + p * n, a + q * n, n, c, s);
  RotateColumns(a, n, p, q, c, s);
  RotateRows(vectors + p * n, vectors + q * n, n, c, s);
}

}  // namespace

void SymmetricEigen(size_t n, std::vector<double>* a, std::vector<double>* vectors,
                    std::vector<double>* values) {
  vectors->assign(n * n, 0.0);
  for (size_t k = 0; k < n; ++k) (*vectors)[k * n + k] = 1.0;
  for (int sweep = 0; sweep < 16; ++sweep) {
    double off = 0, on = 0;
    for (size_t p = 0; p < n; ++p) {
      on += (*a)[p * n + p] * (*a)[p * n + p];
      for (size_t q = p + 1; q < n; ++q) off += (*a)[p * n + q] * (*a)[p * n + q];
    }
    if (!(off > 1e-20 * on)) break;
    for (size_t p = 0; p < n; ++p)
      for (size_t q = p + 1; q < n; ++q)
        if ((*a)[p * n + q] != 0.0) Rotate(n, p, q, a->data(), vectors->data());
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t i, size_t j) { return (*a)[i * n + i] > (*a)[j * n + j]; });
  const std::vector<double> unsorted = *vectors;
  values->resize(n);
  for (size_t k = 0; k < n; ++k) {
    (*values)[k] = (*a)[order[k] * n + order[k]];
    std::copy_n(unsorted.begin() + static_cast<ptrdiff_t>(order[k] * n), n,
                vectors->begin() + static_cast<ptrdiff_t>(k * n));
  }
}

}  // namespace isthmus
