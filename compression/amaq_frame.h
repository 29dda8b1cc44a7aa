// AMAQ (Song et al., arXiv 2510.05468), as completed in docs/numerics.md: a width per channel that
// starts high and falls to a target while training, learned by gates for activations, by
// water-filling for gradients.
//
// A frame:
//   u8 flags: 1 = a table follows
//   varint version of the widths
//   [table: 3 bits per channel, width - 1]     when the other end does not have this version
//   ColumnCoder matrix over the whole frame
//
// Widths move at step boundaries only; the first frame of a step carries the new table. An
// evaluation frame uses the widths as they are and brings its own table when the other end has
// another; that one is not kept.
#ifndef ISTHMUS_COMPRESSION_AMAQ_FRAME_H_
#define ISTHMUS_COMPRESSION_AMAQ_FRAME_H_

#include <memory>

#include "absl/status/statusor.h"
#include "compression/bit_policy.h"
#include "compression/codec.h"

namespace isthmus {

absl::StatusOr<std::unique_ptr<Encoder>> MakeAmaqEncoder(const BitRange& range, GateKind gate,
                                                         const EdgeShape& shape);
absl::StatusOr<std::unique_ptr<Decoder>> MakeAmaqDecoder(const BitRange& range,
                                                         const EdgeShape& shape);
Codec::StateSize AmaqStateSize(const BitRange& range, GateKind gate, const EdgeShape& shape);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_AMAQ_FRAME_H_
