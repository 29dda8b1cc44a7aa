// One decoder block, forward and backward: x + attention(norm(x)), then the same with the
// feed-forward part.
//
// What the backward pass needs is kept as little as possible: norms, activations and probabilities
// are computed again from their inputs (elementwise work, a few per cent of the products), so that
// a block keeps hidden * 3 + query + 2 kv + (2 or 1) * intermediate floats a token.
#ifndef ISTHMUS_ENGINE_EDGE_BLOCK_H_
#define ISTHMUS_ENGINE_EDGE_BLOCK_H_

#include <cstdint>

#include "engine/dropout_key.h"
#include "engine/edge/kv_cache.h"
#include "engine/edge/linear.h"
#include "engine/edge/memory.h"
#include "engine/edge/norm.h"
#include "engine/edge/rotary_table.h"
#include "engine/edge/weights.h"
#include "kernels/parallel.h"

namespace isthmus::edge {

// Where the rows of a micro-batch stand: samples one after the other. `past`: positions in front of
// the first row, for generation (one sample).
struct RowLayout {
  absl::Span<const int32_t> lengths;
  int64_t tokens = 0;
  int64_t longest = 0;
  int64_t past = 0;
};

// Query, key and value rows: three arrays, or parts of one where the model's map is fused.
struct Projections {
  float *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t q_stride = 0, kv_stride = 0;
  static Projections Carve(Carver* carver, const ModelConfig& config, int64_t tokens);
};

// A block's input and what its backward pass reads.
struct BlockKept {
  float* x = nullptr;  // [tokens, hidden]
  NormKept attention_norm, feed_forward_norm;
  Projections projections;    // rotated
  float* attended = nullptr;  // [tokens, heads * head_dim]
  float* log_sums = nullptr;  // [heads] x [length] of one sample after the other
  float* h = nullptr;         // [tokens, hidden], behind attention
  float* gate = nullptr;      // [tokens, intermediate], gated models
  float* up = nullptr;        // [tokens, intermediate]
  // `x` alone where the rest is computed again.
  static BlockKept CarveInput(Carver* carver, const ModelConfig& config, int64_t tokens);
  static BlockKept Carve(Carver* carver, const ModelConfig& config, int64_t tokens);
};

// Space that holds nothing between two calls.
struct BlockWork {
  float *normal = nullptr, *grad_normal = nullptr;                   // [tokens, hidden]
  float *inner = nullptr, *grad_up = nullptr, *grad_gate = nullptr;  // [tokens, intermediate]
  float* grad_attended = nullptr;
  Projections grad_projections;
  float* attention = nullptr;  // of the attention kernels, a part for each thread
  int64_t attention_floats = 0;
  LinearWork linear;
  // For rows up to `tokens`, samples (with what is in front of them) up to `longest`.
  static BlockWork Carve(Carver* carver, const Weights& weights, int64_t tokens, int64_t longest,
                         int threads);
};

struct BlockContext {
  const ModelConfig* config = nullptr;
  const Block* block = nullptr;
  const RowLayout* rows = nullptr;
  const RotaryTable* rotary = nullptr;
  const DropoutKey* dropout = nullptr;  // null: none
  ThreadPool* pool = nullptr;
  const BlockWork* work = nullptr;
};

// y [tokens, hidden] from kept->x; fills the rest of `kept`. With a cache the new keys and values
// go behind the `past` ones; it has room.
void ForwardBlock(const BlockContext& context, BlockKept* kept, KvCache* cache, float* y);

// `grad` [tokens, hidden]: the gradient of y becomes that of x, in place. With `wants_input` false
// nobody asks for the latter, and what only it needs is left out.
void BackwardBlock(const BlockContext& context, const BlockKept& kept, bool wants_input,
                   float* grad);

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_BLOCK_H_
