// Keys and values of generated text in 8 or 4 bits, one scale for each position and head.
//
// 8 bits are symmetric, step = largest / 127. 4 bits are asymmetric, code * step + low: KIVI (Liu
// et al., ICML 2024, arXiv 2402.02750) found that symmetric ones lose too much. Scales are made for
// a position when it comes, and for each head apart, as QServe has them for both keys and values
// (Lin et al., 2024, arXiv 2405.04532). Keys are stored rotated.
//
// Layout, made for attention that reads it without unpacking it anywhere. Positions lie in blocks
// of 16; a block has a unit for each head:
//
//   keys          [columns][16 positions] bytes     a vector is 16 positions of one channel
//   their scales  [16] 4 bytes                      int8: fp32 step; int4: bf16 low, bf16 step
//   values        [16 positions][columns] bytes     a vector is 16 channels of one position
//   their scales  [16] 4 bytes
//
// int8: a column is a channel. int4: column j has channel j in its low half and channel
// j + columns in its high half; columns = ceil(head_dim / 2).
//
// Threads: positions of a block share cache lines: one thread writes.
#ifndef ISTHMUS_KERNELS_KV_CACHE_H_
#define ISTHMUS_KERNELS_KV_CACHE_H_

#include <cstdint>

namespace isthmus::kernels {

constexpr int64_t kKvBlock = 16;  // positions

struct KvLayout {
  int64_t heads = 0;  // key/value heads
  int64_t head_dim = 0;
  int bits = 8;  // 8 or 4

  int64_t columns() const { return bits == 8 ? head_dim : (head_dim + 1) / 2; }
  int64_t scales_offset() const { return columns() * kKvBlock; }  // behind the codes
  int64_t values_offset() const { return scales_offset() + 4 * kKvBlock; }
  int64_t unit_bytes() const { return 2 * values_offset(); }
  int64_t block_bytes() const { return heads * unit_bytes(); }
  // Of a cache for so many positions.
  int64_t bytes(int64_t positions) const {
    return (positions + kKvBlock - 1) / kKvBlock * block_bytes();
  }
};

// The scale of one position and head: value = code * step + low.
struct KvScale {
  float step = 0.0f;
  float low = 0.0f;  // int8: 0
};

// Keeps one position; k and v [heads * head_dim]. A row that is not finite reads as not finite.
void StoreKv(const KvLayout& layout, int64_t position, const float* k, const float* v,
             uint8_t* cache);
// One position and head as attention sees it; k and v [head_dim].
void ReadKv(const KvLayout& layout, const uint8_t* cache, int64_t position, int64_t head, float* k,
            float* v);
// Entry i of the scales at `scales`, of keys or of values.
KvScale ReadKvScale(const KvLayout& layout, const uint8_t* scales, int64_t i);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_KV_CACHE_H_
