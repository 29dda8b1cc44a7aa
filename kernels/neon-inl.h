// What the 64-bit ARM targets share: the vector of portable-inl.h, folding, the transpose of
// integer codes. No include guard on purpose: compiled once per target file, with its instructions.
#include <arm_neon.h>

#include "kernels/kernel_table.h"

namespace isthmus {
namespace {

using Vec = float32x4_t;
constexpr int kLanes = 4;
constexpr int kTileRows = 6;  // 6 x 4 accumulators of 32 registers
constexpr int kTileVecs = 4;
inline Vec Zero() { return vdupq_n_f32(0.0f); }
inline Vec Load(const float* p) { return vld1q_f32(p); }
inline void Store(Vec v, float* p) { vst1q_f32(p, v); }
inline Vec Broadcast(float v) { return vdupq_n_f32(v); }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }

}  // namespace
}  // namespace isthmus

#include "kernels/portable-inl.h"

namespace isthmus {
namespace {

// 4 codes of a row, repeated for each channel of a vector.
inline int8x16_t BroadcastQuad(const int8_t* x) {
  int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

inline int FoldLength(const IntBlock& block, int begin) {
  return begin + block.fold < block.depth ? block.fold : block.depth - begin;
}

// acc [kRows][64] from row m0, column n: 4 x kVecs columns = fma(sums, scale, acc).
template <int kRows, int kVecs>
inline void FoldSums(const int32x4_t (&sum)[kRows][kVecs], const IntBlock& block,
                     const IntRows& rows, int m0, int n, int fold, bool fresh, float* acc) {
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    Vec own = Zero();
    if (block.scales == nullptr) own = Broadcast(rows.scales[(m0 + m) * rows.scale_stride + fold]);
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      float* to = acc + (m0 + m) * kPanel + n + v * kLanes;
      const Vec scale =
          block.scales != nullptr ? Load(block.scales + fold * kPanel + n + v * kLanes) : own;
      Store(MulAdd(vcvtq_f32_s32(sum[m][v]), scale, fresh ? Zero() : Load(to)), to);
    }
  }
}

inline Vec LoadScales(const uint16_t* scales) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(scales), 16));
}

// ---- the transpose of integer codes ------------------------------------------------------------

// BackwardRatio of 4 channels.
inline int16x4_t RatiosAt(const PackedView& w, int64_t channel, int64_t at) {
  const Vec whole = Load(w.backward_scales + channel);
  const Vec unit = Broadcast(w.format == WeightFormat::kInt4Group ? 2048.0f : 32768.0f);
  const Vec quotient = vmulq_f32(vdivq_f32(LoadScales(w.scales + at), whole), unit);
  const Vec ratio = vbslq_f32(vcgtq_f32(whole, Zero()), quotient, Zero());
  const Vec half = vbslq_f32(vcltq_f32(ratio, Zero()), Broadcast(-0.5f), Broadcast(0.5f));
  int32x4_t rounded = vcvtq_s32_f32(vaddq_f32(ratio, half));
  rounded = vbslq_s32(vcgtq_f32(ratio, Broadcast(-32767.0f)), rounded, vdupq_n_s32(-32767));
  rounded = vbslq_s32(vcltq_f32(ratio, Broadcast(32767.0f)), rounded, vdupq_n_s32(32767));
  return vmovn_s32(rounded);
}

// [64][4] of a panel: each channel's ratio four times.
inline void RatiosOf(const PackedView& w, int64_t panel, int64_t input, int16_t* ratios) {
  const int64_t at = GroupAt(w, panel, input);
  for (int n = 0; n < kPanel; n += 4, ratios += 16) {
    const int16x4_t four = RatiosAt(w, panel * kPanel + n, at + n);
    vst1_s16(ratios, vdup_lane_s16(four, 0));
    vst1_s16(ratios + 4, vdup_lane_s16(four, 1));
    vst1_s16(ratios + 8, vdup_lane_s16(four, 2));
    vst1_s16(ratios + 12, vdup_lane_s16(four, 3));
  }
}

// Rescale of portable-inl.h: sqrdmulh is its product of 2^15 rounded, addhn its second rounding.
// |ratio| < 2^15, so that the product never saturates.
inline void RescaleWide(int8_t* codes, const int16_t* ratios, int shift) {
  const int16x8_t half = vdupq_n_s16(128);
  const int16x8_t up = vdupq_n_s16(static_cast<int16_t>(8 + shift));
  for (int i = 0; i < kPanel * 4; i += 8) {
    const int16x8_t wide = vshlq_s16(vmovl_s8(vld1_s8(codes + i)), up);
    vst1_s8(codes + i, vaddhn_s16(vqrdmulhq_s16(wide, vld1q_s16(ratios + i)), half));
  }
}

[[maybe_unused]] void StageIntTransposedWide(const PackedView& w, int64_t column,
                                             int64_t first_channel, int depth, int8_t* out) {
  int8_t staged[kPanel * 64];
  int16_t ratios[kPanel * 4];
  for (int n0 = 0; n0 < depth; n0 += kPanel, out += kPanel * 64) {
    const int64_t panel = (first_channel + n0) / kPanel;
    StageInt(w, {panel, column, 64}, staged);
    for (int k = 0; k < 64 && w.scales != nullptr; k += 4) {
      if (k % 32 == 0) RatiosOf(w, panel, column + k, ratios);
      RescaleWide(staged + k * kPanel, ratios, ShiftOf(w.format));
    }
    TransposeQuads(staged, out);
  }
}

}  // namespace
}  // namespace isthmus
