// How large the frames of a codec will be, before there are any: what a plan counts with.
#ifndef ISTHMUS_COMPRESSION_FRAME_ESTIMATE_H_
#define ISTHMUS_COMPRESSION_FRAME_ESTIMATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "compression/codec.h"

namespace isthmus {

// Bits per element, payload and side information, mean over the run.
struct FrameEstimate {
  double first_bits = 0.0;  // of a sample that was not seen before
  double later_bits = 0.0;  // of one that both ends remember, as far as the codec does
};

// Codes one sample of `shape.max_sample_tokens` made-up rows (at most 128, which tells as much)
// twice, the second time changed by a tenth of its size, as training changes it. What a codec
// learns from real data later is not in it; where gates steer widths from a start to a target over
// `shape.total_steps`, their mean is. Fails where the codec cannot serve the shape.
absl::StatusOr<FrameEstimate> EstimateFrame(const Codec& codec, const EdgeShape& shape);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_FRAME_ESTIMATE_H_
