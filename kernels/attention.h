// Causal grouped-query attention (Ainslie et al., 2023) of one sequence and one key/value head,
// block by block as in FlashAttention-2 (Dao, 2023, arXiv 2307.08691): scores exist for one block
// of query rows at a time, and the backward pass computes the probabilities again from the kept
// logarithms of the row sums. Nothing of size queries x keys outlives a block.
//
// Legend: T queries, S keys (the last T of them are the queries' own positions), C head_dim, G
// query heads that share the key/value head.
//
// Threads: a head is independent of the others; the caller may run heads in parallel, each with its
// own scratch. A query row's result does not depend on the other rows of a call with the same S -
// T.
#ifndef ISTHMUS_KERNELS_ATTENTION_H_
#define ISTHMUS_KERNELS_ATTENTION_H_

#include <cstdint>

namespace isthmus::kernels {

// Elements of one head: row r starts at data + r * stride and holds C floats for a key/value head,
// G * C for its query heads, which are neighbours.
struct HeadRows {
  const float* data = nullptr;
  int64_t stride = 0;
};
struct MutableHeadRows {
  float* data = nullptr;
  int64_t stride = 0;
};

struct AttentionHead {
  int64_t queries = 0;   // T
  int64_t keys = 0;      // S >= T
  int64_t head_dim = 0;  // C
  int64_t groups = 1;    // G
  int64_t window = 0;    // a query sees so many positions, its own included; 0: all before it
};

// Floats that AttendHead, or AttendHeadGradient, needs as scratch.
int64_t AttentionScratchFloats(const AttentionHead& head);
int64_t AttentionGradientScratchFloats(const AttentionHead& head);

// out [T, G * C]; log_sums [G, T] unless null: natural logarithms of the softmax denominators, the
// scale 1 / sqrt(C) inside.
void AttendHead(const AttentionHead& head, HeadRows q, HeadRows k, HeadRows v, MutableHeadRows out,
                float* log_sums, float* scratch);

struct AttentionKept {
  HeadRows q, k, v, out;
  const float* log_sums = nullptr;
};
// Overwrites dq, dk and dv. keys must equal queries.
void AttendHeadGradient(const AttentionHead& head, const AttentionKept& kept, HeadRows dout,
                        MutableHeadRows dq, MutableHeadRows dk, MutableHeadRows dv, float* scratch);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_ATTENTION_H_
