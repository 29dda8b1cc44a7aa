// How fast a mean width falls to its target: at every step by `Pull` of the distance. The pull
// grows over the first third of the run, so that widths fall after training has begun to move
// (docs/numerics.md).
#ifndef ISTHMUS_COMPRESSION_BIT_RAMP_H_
#define ISTHMUS_COMPRESSION_BIT_RAMP_H_

#include <algorithm>
#include <cstdint>

namespace isthmus {

class BitRamp {
 public:
  // total_steps 0 (unknown) counts as 300.
  explicit BitRamp(int64_t total_steps)
      : total_(total_steps > 0 ? static_cast<double>(total_steps) : 300.0) {}

  // For the step after `done` steps. 12 / total at its height: the distance left is e^-2 after a
  // third of the run, e^-10 at its end; never more than half of the distance at once.
  double Pull(uint64_t done) const {
    const double ramp = std::min(1.0, 3.0 * static_cast<double>(done + 1) / total_);
    return ramp * std::min(0.5, 12.0 / total_);
  }

  // What is left of the distance, as the mean over the steps of the run: a step's frames go out
  // before its pull.
  double MeanLeft() const {
    double left = 1.0, sum = 0.0;
    const auto steps = static_cast<uint64_t>(total_);
    for (uint64_t done = 0; done < steps; ++done) {
      sum += left;
      left -= Pull(done) * left;
    }
    return sum / total_;
  }

 private:
  double total_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_BIT_RAMP_H_
