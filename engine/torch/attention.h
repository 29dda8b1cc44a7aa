// Causal grouped-query attention (Ainslie et al., 2023) over packed rows, explicit: scores and
// probabilities are fp32 tensors. Memory per micro-batch and block: samples * num_heads * longest^2
// * 4 bytes of probabilities while a backward pass is awaited.
#ifndef ISTHMUS_ENGINE_TORCH_ATTENTION_H_
#define ISTHMUS_ENGINE_TORCH_ATTENTION_H_

#include "engine/torch/batch_layout.h"
#include "engine/torch/libtorch.h"
#include "model/config.h"

namespace isthmus {

// Keys and values of one sequence in one block, [kv heads, capacity, head_dim], grown by doubling.
struct KvCache {
  at::Tensor keys, values;
};

// q [tokens, num_heads * head_dim], k and v [tokens, num_kv_heads * head_dim], not yet rotated.
// Returns [tokens, num_heads * head_dim].
at::Tensor Attend(const ModelConfig& config, const BatchLayout& layout, const at::Tensor& q,
                  const at::Tensor& k, const at::Tensor& v);

// The same for the next rows of one sequence: `past` positions are in the cache, the new ones are
// added to it. cos and sin in `layout` are those of the new positions, and its mask is [1, groups *
// new, past + new].
at::Tensor AttendCached(const ModelConfig& config, const BatchLayout& layout, int64_t past,
                        const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        KvCache* cache);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_ATTENTION_H_
