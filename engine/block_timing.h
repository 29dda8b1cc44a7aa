// Engine::MeasureBlock for any engine: what one block takes as a stage of a pipeline.
#ifndef ISTHMUS_ENGINE_BLOCK_TIMING_H_
#define ISTHMUS_ENGINE_BLOCK_TIMING_H_

#include "engine/stage.h"

namespace isthmus {

// The fastest of several rounds within 0.3 s: whatever disturbs a measurement makes it longer. A
// round is what a stage does in a pipeline: several micro-batches forward before the first goes
// back, other work between two, so that caches hold neither weights nor activations (1.2 to 1.6
// times the time of the same micro-batch again and again).
absl::StatusOr<Engine::Speed> TimeBlock(Engine* engine, const ModelConfig& config,
                                        const TrainSpec& train, int64_t tokens);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_BLOCK_TIMING_H_
