#include "client/learning_rate.h"

#include <cmath>

namespace isthmus {

double LearningRate(const Job::Train& train, int64_t step, int64_t total_steps) {
  const double lr = train.optimizer.lr;
  const double t = static_cast<double>(step), total = static_cast<double>(total_steps);
  const double warmup = static_cast<double>(train.schedule.warmup_steps);
  if (t <= warmup) return lr * t / warmup;
  // From here on warmup < t <= total.
  switch (train.schedule.name) {
    case RateSchedule::kConstant:
      return lr;
    case RateSchedule::kLinear:
      return lr * (total - t + 1) / (total - warmup + 1);
    case RateSchedule::kCosine:
      return lr * 0.5 * (1.0 + std::cos(3.14159265358979323846 * (t - warmup) / (total - warmup)));
  }
  return lr;
}

}  // namespace isthmus
