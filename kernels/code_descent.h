// Codes of one channel, improved one at a time. Internal to kernels/.
#ifndef ISTHMUS_KERNELS_CODE_DESCENT_H_
#define ISTHMUS_KERNELS_CODE_DESCENT_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/quantize_weights.h"

namespace isthmus {

// Coordinate descent on e H e^T, e = weights - values of the codes: each code in turn becomes the
// nearest to where the others want it, until none changes or for `passes`. gram: H [in][in]; pull:
// H e, kept up to date; grids: one a group of `group` inputs. The result is never worse.
void DescendCodes(const float* gram, int64_t group, absl::Span<const GroupGrid> grids, int passes,
                  absl::Span<float> pull, absl::Span<uint8_t> codes);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_CODE_DESCENT_H_
