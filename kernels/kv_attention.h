// Causal attention that reads an 8- or 4-bit key/value cache: codes become floats in registers, and
// scales multiply what was summed over the channels, so that nothing of the cache is ever unpacked
// into memory.
//
// Every sum has one order and every operation one rounding (no fused multiply-add), and the
// exponential is our own: the result is the same on every instruction set, and does not depend on
// the other queries of a call.
//
// Legend and threads as in kernels/attention.h.
#ifndef ISTHMUS_KERNELS_KV_ATTENTION_H_
#define ISTHMUS_KERNELS_KV_ATTENTION_H_

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/kv_cache.h"

namespace isthmus::kernels {

struct CachedHead {
  KvLayout layout;
  const uint8_t* cache = nullptr;  // holds head.keys positions
  int64_t kv_head = 0;
};

// Floats of scratch.
int64_t CachedAttentionScratchFloats(const AttentionHead& head);

// out [T, G * C]; head.head_dim is the layout's.
void AttendCachedHead(const AttentionHead& head, const CachedHead& cached, HeadRows q,
                      MutableHeadRows out, float* scratch);
// The same in plain scalar code.
void AttendCachedHeadReference(const AttentionHead& head, const CachedHead& cached, HeadRows q,
                               MutableHeadRows out, float* scratch);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_KV_ATTENTION_H_
