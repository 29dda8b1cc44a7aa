// Softmax cross entropy of one row of logits, fp32 with a sum in the row's lanes.
#ifndef ISTHMUS_KERNELS_CROSS_ENTROPY_H_
#define ISTHMUS_KERNELS_CROSS_ENTROPY_H_

#include <cstdint>

namespace isthmus::kernels {

// -log softmax(logits)[target], natural. 0 <= target < count.
double CrossEntropy(const float* logits, int64_t count, int64_t target);

// The same, and overwrites the logits with their gradient times `scale`: softmax - onehot, at the
// target as expm1(log p), which is exact where p is close to one.
double CrossEntropyGradient(float* logits, int64_t count, int64_t target, float scale);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_CROSS_ENTROPY_H_
