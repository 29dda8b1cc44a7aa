// How much each channel matters to the loss, as the sender of activations learns it: the running
// mean square of their gradient, relative to the mean of all channels. A micro-batch counts like
// any other, since the loss's scale falls as training goes on.
#ifndef ISTHMUS_COMPRESSION_GRADIENT_SQUARES_H_
#define ISTHMUS_COMPRESSION_GRADIENT_SQUARES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

// A value: copying it is the snapshot of a step boundary.
class GradientSquares {
 public:
  explicit GradientSquares(size_t width) : mean_square_(width) {}

  // Rows of `width` values. A gradient of zero says nothing.
  void Observe(absl::Span<const float> g_TD);
  // Of each channel, 1 in the mean; 0 before the first gradient.
  const std::vector<double>& mean_square() const { return mean_square_; }
  uint64_t frames() const { return frames_; }

  void Write(ByteWriter* out) const;
  bool Read(ByteReader* in);  // false for what Write does not write; unchanged then

 private:
  std::vector<double> mean_square_;
  uint64_t frames_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_GRADIENT_SQUARES_H_
