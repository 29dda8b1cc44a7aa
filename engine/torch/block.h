// One decoder block: x + attention(norm(x)), then the same with the feed-forward.
#ifndef ISTHMUS_ENGINE_TORCH_BLOCK_H_
#define ISTHMUS_ENGINE_TORCH_BLOCK_H_

#include "engine/torch/attention.h"
#include "engine/torch/batch_layout.h"
#include "engine/torch/libtorch.h"
#include "engine/torch/linear.h"
#include "model/config.h"

namespace isthmus {

struct NormWeights {
  at::Tensor weight;
  at::Tensor bias;  // LayerNorm only
};
at::Tensor Normalize(const ModelConfig& config, const NormWeights& norm, const at::Tensor& x);

// Handles to the tensors of one block; which of them exist follows from the configuration.
struct BlockWeights {
  NormWeights attention_norm, feed_forward_norm;
  Linear qkv;  // fused_qkv, else
  Linear q, k, v;
  Linear out;
  Linear gate;      // FeedForward::kGated only
  Linear up, down;  // GPT-2: c_fc, c_proj
};

// All return [tokens, hidden_size], fp32; differentiable when gradients are enabled.
at::Tensor ForwardBlock(const ModelConfig& config, const BlockWeights& block,
                        const BatchLayout& layout, const DropoutKey& dropout,
                        at::ScalarType compute, const at::Tensor& x);
// The next rows of one sequence.
at::Tensor ExtendBlock(const ModelConfig& config, const BlockWeights& block,
                       const BatchLayout& layout, int64_t past, at::ScalarType compute,
                       const at::Tensor& x, KvCache* cache);

// Bytes that a differentiable ForwardBlock keeps for the backward pass, x itself apart.
int64_t BlockActivationBytes(const ModelConfig& config, const BlockWeights& block,
                             const BatchLayout& layout, const DropoutKey& dropout);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_BLOCK_H_
