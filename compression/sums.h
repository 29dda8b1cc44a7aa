// Sums in a stated order: eight interleaved partial sums in double (value i goes to sum i % 8),
// added from the first to the last. The order is part of the numerics: it does not depend on the
// machine, and it breaks the chain of one adder.
#ifndef ISTHMUS_COMPRESSION_SUMS_H_
#define ISTHMUS_COMPRESSION_SUMS_H_

#include <cstddef>

namespace isthmus {

struct Moments {
  double sum = 0;
  double squares = 0;
};

inline Moments SumMoments(const float* x, size_t n) {
  double sums[8] = {}, squares[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (size_t k = 0; k < 8; ++k) {
      const double v = x[i + k];
      sums[k] += v;
      squares[k] += v * v;
    }
  }
  for (size_t k = 0; i + k < n; ++k) {
    const double v = x[i + k];
    sums[k] += v;
    squares[k] += v * v;
  }
  Moments total;
  for (size_t k = 0; k < 8; ++k) {
    total.sum += sums[k];
    total.squares += squares[k];
  }
  return total;
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SUMS_H_
