// The ends of an ecq edge. A frame:
//
//   u8 kind | flags   kind 0 coded, 1 constant, 2 raw fp32; flags 8 both ends start as new, 16 a
//                     check follows, 32 weights follow, 64 centroids follow
//   u16 lineage       lower bits of a hash over the bytes of all training frames before this one
//   [u32 check]       lower half of a hash of the state before this frame; every 16th training
//   frame constant: f32 value, u16 lower bits of its hash · raw: the values coded (of at least one
//   row):
//     u16 step as bf16 · u8 start: the expected magnitude where nothing was learned
//     [varint n, n x (u8 table, u8 level, i8 centroid)]
//     side stream: [weights] · per sample how its slot numbers come, and they · per band and row
//     its mode (gradients: per row)
//     streams, one, or one a band: varint bytes of raw bits, raw bits · varint bytes, but for the
//     last · rANS over the rows that are not dropped
//
// docs/ecq.md says what the parts mean. Forward and gradient frames have one form: gradients have
// no predictors and no centroids, and their codes are dithered.
#ifndef ISTHMUS_COMPRESSION_ECQ_FRAME_H_
#define ISTHMUS_COMPRESSION_ECQ_FRAME_H_

#include <memory>

#include "absl/status/statusor.h"
#include "compression/codec.h"
#include "compression/ecq_options.h"

namespace isthmus {

Codec::StateSize EcqStateSize(const EcqOptions& options, const EdgeShape& shape);
absl::StatusOr<std::unique_ptr<Encoder>> MakeEcqEncoder(const EcqOptions& options,
                                                        const EdgeShape& shape);
absl::StatusOr<std::unique_ptr<Decoder>> MakeEcqDecoder(const EcqOptions& options,
                                                        const EdgeShape& shape);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_FRAME_H_
