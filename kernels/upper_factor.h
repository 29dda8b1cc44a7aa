// The Cholesky factor that error feedback needs. Internal to kernels/.
#ifndef ISTHMUS_KERNELS_UPPER_FACTOR_H_
#define ISTHMUS_KERNELS_UPPER_FACTOR_H_

#include <cstdint>
#include <vector>

#include "kernels/parallel.h"

namespace isthmus {

// The upper U with U^T U = H^-1 for a symmetric positive definite H [n][n], in place. False where H
// is not positive definite or not finite.
bool InvertToUpperFactor(int64_t n, std::vector<double>* matrix, ThreadPool* pool);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_UPPER_FACTOR_H_
