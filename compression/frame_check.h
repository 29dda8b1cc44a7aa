// What every encoder and decoder checks of a frame before it looks at values.
#ifndef ISTHMUS_COMPRESSION_FRAME_CHECK_H_
#define ISTHMUS_COMPRESSION_FRAME_CHECK_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "compression/codec.h"

namespace isthmus {

// Largest magnitude a frame may hold, 2^126 as fp32 bits: two decades of factors above any
// activation, and far enough below fp32's end that lo + code * scale stays finite for every range.
inline constexpr uint32_t kLargestMagnitude = 0x7E800000u;

// width and edge as every codec needs them.
absl::Status CheckShape(const EdgeShape& shape);

// The samples of `context` must be in row order without gaps and cover `elements` values of the
// edge's width. Returns the rows.
absl::StatusOr<int64_t> CheckFrame(const EdgeShape& shape, const FrameContext& context,
                                   size_t elements);

// The error for a frame whose magnitude check (against `largest`, as fp32 bits) failed: names the
// first bad token, channel and value.
absl::Status NonFiniteError(const EdgeShape& shape, const FrameContext& context,
                            absl::Span<const float> x_TD, uint32_t largest = kLargestMagnitude);

// "(edge 1, backward, step 3, micro-batch 0)" for messages.
std::string Where(const EdgeShape& shape, const FrameContext& context);

// The error of a decoder whose bytes do not fit the frame.
absl::Status CorruptFrame(const EdgeShape& shape, const FrameContext& context,
                          absl::string_view expected, absl::string_view got);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_FRAME_CHECK_H_
