// Zeroth-order training: forward passes alone. SPSA (Spall, IEEE Transactions on Automatic Control,
// 1992) with normal directions, made again from their key wherever they are needed instead of kept,
// as in MeZO (Malladi et al., NeurIPS 2023, arXiv 2305.17333).
//
// A probe z ~ N(0, 1) in every trained value; with L+ and L- the losses at w + eps z and w - eps z,
// slope * z is an estimate of the gradient, slope = (L+ - L-) / (2 eps). Several probes a step are
// averaged by their slopes. What a tensor's values of z are depends on its name, and not on who
// holds it: a split model equals the unsplit one bit for bit.
//
// libm makes the normals: two holders of one tensor (tied embeddings of a vanilla split) agree as
// far as their libraries do.
#ifndef ISTHMUS_ENGINE_ZEROTH_ORDER_H_
#define ISTHMUS_ENGINE_ZEROTH_ORDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace isthmus {

struct Probe {
  uint64_t seed = 0;  // of the job
  uint64_t step = 0;
  uint32_t index = 0;  // within the step
};

// to = from + scale * z of the tensor `name`; may be in place.
void MoveAlong(const Probe& probe, const std::string& name, double scale,
               absl::Span<const float> from, absl::Span<float> to);

// One update: w = (1 - lr * weight_decay) w - lr * sum over probes of slopes[i] * z_i.
struct Descent {
  uint64_t seed = 0;
  uint64_t step = 0;
  std::vector<double> slopes;  // by probe, divided by their number
  double lr = 0.0;
  double weight_decay = 0.0;
};
void Descend(const Descent& descent, const std::string& name, absl::Span<float> values);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_ZEROTH_ORDER_H_
