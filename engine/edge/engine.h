// The on-device engine: the kernels of kernels/, no LibTorch.
//
// Trains LoRA adapters on a frozen base that is held in one of the formats of
// kernels/weight_format.h (TrainSpec::edge.weights), or every tensor, in fp32 or with its matrices
// as int8 codes.
#ifndef ISTHMUS_ENGINE_EDGE_ENGINE_H_
#define ISTHMUS_ENGINE_EDGE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/stage.h"

namespace isthmus {

// `threads`: those of a party's stages, 0: one for each core; TrainSpec::threads overrides it. The
// number does not show in any result. `weights`: how matrices are held where the TrainSpec
// does not say; empty: as a packed model (packed_model.h) holds them, else f32. `kv_cache`: how
// generation keeps keys and values, fp32 (also when empty), int8 or int4. kInvalidArgument for an
// unknown format; MakeStages refuses what the engine has not: another device than the
// processor, bf16 as the compute dtype, another format than a packed model's, trained matrices in
// others than f32 and int8.
absl::StatusOr<std::unique_ptr<Engine>> MakeEdgeEngine(int64_t threads,
                                                       const std::string& weights = "",
                                                       const std::string& kv_cache = "");

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_EDGE_ENGINE_H_
