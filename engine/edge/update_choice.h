// What of a party's part is trained within a memory limit (Lin et al., "On-Device Training Under
// 256KB Memory", NeurIPS 2022: train what pays, keep activations for nothing else).
#ifndef ISTHMUS_ENGINE_EDGE_UPDATE_CHOICE_H_
#define ISTHMUS_ENGINE_EDGE_UPDATE_CHOICE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/stage.h"

namespace isthmus::edge {

struct UpdateChoice {
  bool recompute = false;
  int64_t first_updated = 0;  // above 0: blocks below and the embedding keep what they begin with
};

// The choices that a job allows, best first. `update: all`: as the job says. `auto`: everything;
// everything with recomputation, which costs a second forward pass of the blocks and changes no
// result; then without the adapters of the first block behind the embedding, the first two, and so
// on; in full training without the embedding and those blocks. The blocks of the tail part always
// pass gradients to the cut, so that leaving their adapters out would save next to nothing. Trained
// by probes nothing is recomputed: only what the trained values themselves take is left to save.
//
// `shared_embedding`: another party trains the same tensor, so ours cannot stay behind.
std::vector<UpdateChoice> UpdateChoices(const TrainSpec& train, absl::Span<const LayerRange> ranges,
                                        bool shared_embedding);

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_UPDATE_CHOICE_H_
