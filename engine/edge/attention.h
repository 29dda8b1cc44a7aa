// Attention over all samples and heads of a micro-batch.
#ifndef ISTHMUS_ENGINE_EDGE_ATTENTION_H_
#define ISTHMUS_ENGINE_EDGE_ATTENTION_H_

#include "engine/edge/block.h"

namespace isthmus::edge {

// Work space of one thread, for samples (with what is in front of them) up to `longest`.
int64_t AttentionFloats(const ModelConfig& config, int64_t longest);

// Rotates kept->projections, adds them to the cache where there is one, and fills in attended and
// log_sums (not with a cache: generation has no backward pass).
void Attend(const BlockContext& context, BlockKept* kept, KvCache* cache);
// From the gradient of `attended` to those of the projections as they left their maps.
void AttendGradient(const BlockContext& context, const BlockKept& kept, const float* grad_attended,
                    const Projections& grad);

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_ATTENTION_H_
