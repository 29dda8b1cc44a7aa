#include "engine/edge/block.h"

#include <algorithm>
#include <cstring>

#include "engine/edge/attention.h"
#include "engine/edge/normal_rows.h"
#include "kernels/activation.h"
#include "kernels/rows.h"

namespace isthmus::edge {
namespace {

kernels::Curve CurveOf(const ModelConfig& config) {
  switch (config.activation) {
    case Activation::kSilu:
      return kernels::Curve::kSilu;
    case Activation::kGeluTanh:
      return kernels::Curve::kGeluTanh;
    case Activation::kGeluErf:
      return kernels::Curve::kGeluErf;
    case Activation::kRelu:
      return kernels::Curve::kRelu;
  }
  return kernels::Curve::kRelu;
}

bool IsGated(const ModelConfig& config) { return config.feed_forward == FeedForward::kGated; }

LinearContext LinearOf(const BlockContext& context) {
  return {context.pool, context.dropout, &context.work->linear};
}

void CopyRows(const float* from, int64_t rows, int64_t width, float* to) {
  std::memcpy(to, from, static_cast<size_t>(rows * width) * sizeof(float));
}

NormalSpace NormalSpaceOf(const BlockWork& work) { return {work.normal, work.grad_normal}; }

// Query, key and value rows of the normalised input.
void Project(const BlockContext& context, const BlockKept& kept, const Projections& p) {
  const ModelConfig& config = *context.config;
  const Block& block = *context.block;
  const LinearContext linear = LinearOf(context);
  const int64_t tokens = context.rows->tokens;
  const NormalSpace space = NormalSpaceOf(*context.work);
  if (config.fused_qkv) {
    const LinearInput normal =
        ForwardNormFor({&block.qkv}, config, block.attention_norm, context.pool, kept.x, tokens,
                       kept.attention_norm, space);
    Apply(block.qkv, linear, normal, tokens, p.q);
    return;
  }
  const LinearInput normal =
      ForwardNormFor({&block.q, &block.k, &block.v}, config, block.attention_norm, context.pool,
                     kept.x, tokens, kept.attention_norm, space);
  Apply(block.q, linear, normal, tokens, p.q);
  Apply(block.k, linear, normal, tokens, p.k);
  Apply(block.v, linear, normal, tokens, p.v);
}

// inner = activation of the feed-forward part.
void Activated(const BlockContext& context, const BlockKept& kept, float* inner) {
  const ModelConfig& config = *context.config;
  ForRows(context.pool, context.rows->tokens, [&](int64_t first, int64_t count) {
    const int64_t at = first * config.intermediate_size, n = count * config.intermediate_size;
    if (IsGated(config)) {
      kernels::Gate(CurveOf(config), kept.gate + at, kept.up + at, n, inner + at);
    } else {
      kernels::Activate(CurveOf(config), kept.up + at, n, inner + at);
    }
  });
}

// From the gradient of `inner` (in grad_up) to those of up and gate.
void ActivatedGradient(const BlockContext& context, const BlockKept& kept) {
  const ModelConfig& config = *context.config;
  const BlockWork& work = *context.work;
  ForRows(context.pool, context.rows->tokens, [&](int64_t first, int64_t count) {
    const int64_t at = first * config.intermediate_size, n = count * config.intermediate_size;
    float* up = work.grad_up + at;
    if (IsGated(config)) {
      kernels::GateGradient(CurveOf(config), kept.gate + at, kept.up + at, up, n,
                            work.grad_gate + at, up);
    } else {
      kernels::ActivateGradient(CurveOf(config), kept.up + at, up, n, up);
    }
  });
}

void BackwardFeedForward(const BlockContext& context, const BlockKept& kept, float* grad) {
  const ModelConfig& config = *context.config;
  const Block& block = *context.block;
  const BlockWork& work = *context.work;
  const int64_t tokens = context.rows->tokens;
  const LinearContext linear = LinearOf(context);
  if (block.down.is_trained()) Activated(context, kept, work.inner);
  ApplyGradient(block.down, linear, work.inner, grad, tokens, work.grad_up, /*add=*/false);
  ActivatedGradient(context, kept);
  if (block.up.is_trained() || block.gate.is_trained()) {
    ForwardNormAgain(config, block.feed_forward_norm, context.pool, kept.h, tokens,
                     kept.feed_forward_norm, work.normal);
  }
  ApplyGradient(block.up, linear, work.normal, work.grad_up, tokens, work.grad_normal, false);
  if (IsGated(config))
    ApplyGradient(block.gate, linear, work.normal, work.grad_gate, tokens, work.grad_normal, true);
  BackwardNorm(config, block.feed_forward_norm, context.pool, kept.h, tokens,
               kept.feed_forward_norm, work.grad_normal, grad);
}

void BackwardAttention(const BlockContext& context, const BlockKept& kept, bool wants_input,
                       float* grad) {
  const ModelConfig& config = *context.config;
  const Block& block = *context.block;
  const BlockWork& work = *context.work;
  const int64_t tokens = context.rows->tokens;
  const LinearContext linear = LinearOf(context);
  const bool trained = block.qkv.is_trained() || block.q.is_trained() || block.k.is_trained() ||
                       block.v.is_trained();
  const bool goes_on = wants_input || trained;
  ApplyGradient(block.out, linear, kept.attended, grad, tokens,
                goes_on ? work.grad_attended : nullptr, /*add=*/false);
  if (!goes_on) return;
  AttendGradient(context, kept, work.grad_attended, work.grad_projections);
  if (trained) {
    ForwardNormAgain(config, block.attention_norm, context.pool, kept.x, tokens,
                     kept.attention_norm, work.normal);
  }
  float* const grad_normal = wants_input ? work.grad_normal : nullptr;
  const Projections& p = work.grad_projections;
  if (config.fused_qkv) {
    ApplyGradient(block.qkv, linear, work.normal, p.q, tokens, grad_normal, /*add=*/false);
  } else {
    ApplyGradient(block.q, linear, work.normal, p.q, tokens, grad_normal, /*add=*/false);
    ApplyGradient(block.k, linear, work.normal, p.k, tokens, grad_normal, /*add=*/true);
    ApplyGradient(block.v, linear, work.normal, p.v, tokens, grad_normal, /*add=*/true);
  }
  if (!wants_input) return;
  BackwardNorm(config, block.attention_norm, context.pool, kept.x, tokens, kept.attention_norm,
               work.grad_normal, grad);
}

}  // namespace

Projections Projections::Carve(Carver* carver, const ModelConfig& config, int64_t tokens) {
  const int64_t q = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  Projections p;
  if (config.fused_qkv) {
    p.q_stride = p.kv_stride = q + 2 * kv;
    p.q = carver->Floats(tokens * p.q_stride);
    p.k = p.q == nullptr ? nullptr : p.q + q;
    p.v = p.q == nullptr ? nullptr : p.k + kv;
    return p;
  }
  p.q_stride = q;
  p.kv_stride = kv;
  p.q = carver->Floats(tokens * q);
  p.k = carver->Floats(tokens * kv);
  p.v = carver->Floats(tokens * kv);
  return p;
}

BlockKept BlockKept::CarveInput(Carver* carver, const ModelConfig& config, int64_t tokens) {
  BlockKept kept;
  kept.x = carver->Floats(tokens * config.hidden_size);
  return kept;
}

BlockKept BlockKept::Carve(Carver* carver, const ModelConfig& config, int64_t tokens) {
  BlockKept kept = CarveInput(carver, config, tokens);
  kept.attention_norm = NormKept::Carve(carver, config, tokens);
  kept.projections = Projections::Carve(carver, config, tokens);
  kept.attended = carver->Floats(tokens * config.num_heads * config.head_dim);
  kept.log_sums = carver->Floats(tokens * config.num_heads);
  kept.h = carver->Floats(tokens * config.hidden_size);
  kept.feed_forward_norm = NormKept::Carve(carver, config, tokens);
  if (IsGated(config)) kept.gate = carver->Floats(tokens * config.intermediate_size);
  kept.up = carver->Floats(tokens * config.intermediate_size);
  return kept;
}

// The feed-forward part and attention take turns in the same space.
BlockWork BlockWork::Carve(Carver* carver, const Weights& weights, int64_t tokens, int64_t longest,
                           int threads) {
  const ModelConfig& config = weights.config();
  BlockWork work;
  const bool backward = weights.train().probes == 0;
  work.normal = carver->Floats(tokens * config.hidden_size);
  // The forward pass has the codes of the normalised rows there.
  work.grad_normal = carver->Floats(NormalCodeFloats(tokens, config.hidden_size));
  work.linear = LinearWork::Carve(carver, weights, tokens, threads);
  const int64_t shared = carver->used();
  work.inner = carver->Floats(tokens * config.intermediate_size);
  if (backward) {
    work.grad_up = carver->Floats(tokens * config.intermediate_size);
    if (IsGated(config)) work.grad_gate = carver->Floats(tokens * config.intermediate_size);
  }
  carver->Rewind(shared);
  if (backward) {
    work.grad_attended = carver->Floats(tokens * config.num_heads * config.head_dim);
    work.grad_projections = Projections::Carve(carver, config, tokens);
  }
  work.attention_floats = AttentionFloats(config, longest);
  work.attention = carver->Floats(work.attention_floats * threads);
  return work;
}

void ForwardBlock(const BlockContext& context, BlockKept* kept, KvCache* cache, float* y) {
  const ModelConfig& config = *context.config;
  const Block& block = *context.block;
  const BlockWork& work = *context.work;
  const int64_t tokens = context.rows->tokens;
  const LinearContext linear = LinearOf(context);
  Project(context, *kept, kept->projections);
  Attend(context, kept, cache);
  CopyRows(kept->x, tokens, config.hidden_size, kept->h);
  Apply(block.out, linear, kept->attended, tokens, kept->h, /*add=*/true);

  const LinearInput normal = ForwardNormFor({&block.up, IsGated(config) ? &block.gate : nullptr},
                                            config, block.feed_forward_norm, context.pool, kept->h,
                                            tokens, kept->feed_forward_norm, NormalSpaceOf(work));
  Apply(block.up, linear, normal, tokens, kept->up);
  if (IsGated(config)) Apply(block.gate, linear, normal, tokens, kept->gate);
  Activated(context, *kept, work.inner);
  CopyRows(kept->h, tokens, config.hidden_size, y);
  Apply(block.down, linear, work.inner, tokens, y, /*add=*/true);
}

void BackwardBlock(const BlockContext& context, const BlockKept& kept, bool wants_input,
                   float* grad) {
  BackwardFeedForward(context, kept, grad);
  BackwardAttention(context, kept, wants_input, grad);
}

}  // namespace isthmus::edge
