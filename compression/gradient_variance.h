// What coding adds to the variance of the gradients that a model is trained with, beside the
// variance that they have as gradients of a mini-batch.
//
// Taken at a linear map at the cut, whose input are the activations that crossed it forward and
// whose output's gradient is what crosses it backward: G = sum over tokens of x (outer) g. Coding
// adds |G^ - G|^2, and a step's own variance is the spread of its M micro-batches' gradients,
// M / (M - 1) sum |G_m - mean|^2. A biased codec's bias counts as well. Of wide inputs 64 channels
// are looked at.
#ifndef ISTHMUS_COMPRESSION_GRADIENT_VARIANCE_H_
#define ISTHMUS_COMPRESSION_GRADIENT_VARIANCE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "compression/codec_measure.h"

namespace isthmus {

// Added over own, over all steps of at least two micro-batches; from a cold start, state advancing
// as in the run. kInvalidArgument where there is no such step, or an edge lacks a frame of the
// other's.
absl::StatusOr<double> AddedVarianceShare(absl::string_view spec, const CapturedEdge& gradients,
                                          const CapturedEdge& activations);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_GRADIENT_VARIANCE_H_
