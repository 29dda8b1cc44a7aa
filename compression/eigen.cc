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

void SymmetricEigen::Solve(size_t n, std::vector<double>* a, std::vector<double>* vectors,
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
  order_.resize(n);
  std::iota(order_.begin(), order_.end(), size_t{0});
  const auto value = [&](size_t i) { return (*a)[i * n + i]; };
  std::sort(order_.begin(), order_.end(),
            [&](size_t i, size_t j) { return value(i) != value(j) ? value(i) > value(j) : i < j; });
  unsorted_ = *vectors;
  values->resize(n);
  for (size_t k = 0; k < n; ++k) {
    (*values)[k] = value(order_[k]);
    std::copy_n(unsorted_.begin() + static_cast<ptrdiff_t>(order_[k] * n), n,
                vectors->begin() + static_cast<ptrdiff_t>(k * n));
  }
}

}  // namespace isthmus
