// The learning rate at step t of T (1 <= t <= T) with warm-up w: lr t / w for t <= w; then
// constant, linear lr (T - t + 1) / (T - w + 1), or cosine to 0 at T.
#ifndef ISTHMUS_CLIENT_LEARNING_RATE_H_
#define ISTHMUS_CLIENT_LEARNING_RATE_H_

#include <cstdint>

#include "client/job.h"

namespace isthmus {

double LearningRate(const Job::Train& train, int64_t step, int64_t total_steps);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_LEARNING_RATE_H_
