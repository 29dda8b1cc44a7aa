#include "engine/torch/block.h"

#include "engine/torch/functions.h"

namespace isthmus {
namespace {

struct Qkv {
  at::Tensor q, k, v;
};

Qkv Project(const ModelConfig& config, const BlockWeights& block, const DropoutKey& dropout,
            at::ScalarType compute, const at::Tensor& x) {
  if (!config.fused_qkv) {
    return {Apply(block.q, x, dropout, compute), Apply(block.k, x, dropout, compute),
            Apply(block.v, x, dropout, compute)};
  }
  const at::Tensor all = Apply(block.qkv, x, dropout, compute);
  const int64_t q = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  return {all.narrow(1, 0, q), all.narrow(1, q, kv), all.narrow(1, q + kv, kv)};
}

at::Tensor FeedForwardOf(const ModelConfig& config, const BlockWeights& block,
                         const DropoutKey& dropout, at::ScalarType compute, const at::Tensor& x) {
  const at::Tensor up = Apply(block.up, x, dropout, compute);
  if (config.feed_forward == FeedForward::kPlain) {
    return Apply(block.down, Activate(config.activation, up), dropout, compute);
  }
  const at::Tensor gate = Apply(block.gate, x, dropout, compute);
  const at::Tensor gated = config.activation == Activation::kSilu
                               ? SiluTimes(gate, up)
                               : at::mul(Activate(config.activation, gate), up);
  return Apply(block.down, gated, dropout, compute);
}

// The half of a block behind attention.
at::Tensor Finish(const ModelConfig& config, const BlockWeights& block, const DropoutKey& dropout,
                  at::ScalarType compute, const at::Tensor& x, const at::Tensor& attended) {
  const at::Tensor h = at::add(x, Apply(block.out, attended, dropout, compute));
  const at::Tensor normal = Normalize(config, block.feed_forward_norm, h);
  return at::add(h, FeedForwardOf(config, block, dropout, compute, normal));
}

// A linear map keeps its input for the gradients of its own matrix or adapter, and the mask and
// rank-wide row of the adapter.
bool KeepsInput(const Linear& linear) {
  return linear.weight.defined() && (linear.weight.requires_grad() ||
                                     (linear.lora_a.defined() && linear.lora_a.requires_grad()));
}

int64_t AdapterFloats(const Linear& linear, const DropoutKey& dropout) {
  if (!linear.lora_a.defined() || !linear.lora_a.requires_grad()) return 0;
  return linear.lora_a.size(0) + (dropout.rate > 0.0 ? 2 * linear.lora_a.size(1) : 0);
}

}  // namespace

at::Tensor Normalize(const ModelConfig& config, const NormWeights& norm, const at::Tensor& x) {
  if (config.norm == Norm::kRmsNorm) return RmsNorm(x, norm.weight, config.norm_eps);
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config.norm_eps);
}

at::Tensor ForwardBlock(const ModelConfig& config, const BlockWeights& block,
                        const BatchLayout& layout, const DropoutKey& dropout,
                        at::ScalarType compute, const at::Tensor& x) {
  const at::Tensor normal = Normalize(config, block.attention_norm, x);
  const Qkv p = Project(config, block, dropout, compute, normal);
  return Finish(config, block, dropout, compute, x, Attend(config, layout, p.q, p.k, p.v));
}

at::Tensor ExtendBlock(const ModelConfig& config, const BlockWeights& block,
                       const BatchLayout& layout, int64_t past, at::ScalarType compute,
                       const at::Tensor& x, KvCache* cache) {
  const DropoutKey none;
  const Qkv p = Project(config, block, none, compute, Normalize(config, block.attention_norm, x));
  const at::Tensor attended = AttendCached(config, layout, past, p.q, p.k, p.v, cache);
  return Finish(config, block, none, compute, x, attended);
}

int64_t BlockActivationBytes(const ModelConfig& config, const BlockWeights& block,
                             const BatchLayout& layout, const DropoutKey& dropout) {
  const int64_t q = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  const bool gated = config.feed_forward == FeedForward::kGated;
  int64_t floats = config.hidden_size + 2;  // h, and 1 / rms of both norms
  if (KeepsInput(block.qkv) || KeepsInput(block.q) || KeepsInput(block.k) || KeepsInput(block.v)) {
    floats += config.hidden_size;
  }
  if (KeepsInput(block.out)) floats += q;
  if (KeepsInput(block.gate) || KeepsInput(block.up)) floats += config.hidden_size;
  floats += (gated ? 2 : 1) * config.intermediate_size;
  if (KeepsInput(block.down)) floats += config.intermediate_size;
  for (const Linear* linear : {&block.qkv, &block.q, &block.k, &block.v, &block.out, &block.gate,
                               &block.up, &block.down}) {
    floats += AdapterFloats(*linear, dropout);
  }
  const int64_t rectangle = layout.samples * layout.longest;
  const int64_t attention = rectangle * (q + 2 * kv + config.num_heads * layout.longest);
  return static_cast<int64_t>(sizeof(float)) * (layout.tokens * floats + attention);
}

}  // namespace isthmus
