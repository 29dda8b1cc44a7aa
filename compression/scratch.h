// Buffers that grow to the largest frame and stay: no allocation per frame.
#ifndef ISTHMUS_COMPRESSION_SCRATCH_H_
#define ISTHMUS_COMPRESSION_SCRATCH_H_

#include <cstddef>
#include <vector>

namespace isthmus {

// Room for n values in *scratch; what is there is left over from the last use.
template <typename T>
T* Room(std::vector<T>* scratch, size_t n) {
  if (scratch->size() < n) scratch->resize(n);
  return scratch->data();
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SCRATCH_H_
