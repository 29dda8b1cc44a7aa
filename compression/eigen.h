// Eigenvectors of small symmetric matrices. For the sender alone: what it finds it sends.
#ifndef ISTHMUS_COMPRESSION_EIGEN_H_
#define ISTHMUS_COMPRESSION_EIGEN_H_

#include <cstddef>
#include <vector>

namespace isthmus {

class SymmetricEigen {
 public:
  // a (n x n, symmetric, destroyed) = sum of values[k] * v_k v_k^T; row k of `vectors` is v_k.
  // Values fall. Cyclic Jacobi rotations; 8 to 12 sweeps of 2 n^3 operations for n = 64.
  void Solve(size_t n, std::vector<double>* a, std::vector<double>* vectors,
             std::vector<double>* values);

 private:
  std::vector<size_t> order_;
  std::vector<double> unsorted_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_EIGEN_H_
