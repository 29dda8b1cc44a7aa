// Where the parts of a packed weight matrix lie. Drawn for W [out, in], y = W x:
//
//   codes     [panel = out/64][in/1 | in/2 | in/4 | in/8][64 channels][what fits a 32-bit lane]
//             f32: one input a lane; bf16: two; 8-bit codes: four; 4-bit codes: eight, the
//             low nibbles of the 4 bytes are inputs 0..3, the high ones inputs 4..7
//   scales    [panel][group][64] bf16                 (formats with groups, but progressive)
//             or [out] fp32, one a channel            (int8, fp8, progressive)
//   level 2   [panel][group][64] u8 scale, then [panel][group][64] u8 zero   (progressive)
//
// out and in are padded to multiples of 64 with codes that decode to 0. A panel's codes are one
// stream in the order a product reads them. 64 bytes of 8-bit codes are 16 channels x 4 inputs,
// the operand of vpdpbusd and a row of an AMX tile. Every part begins at a multiple of 64 bytes.
#ifndef ISTHMUS_KERNELS_PACKED_LAYOUT_H_
#define ISTHMUS_KERNELS_PACKED_LAYOUT_H_

#include <cstdint>

#include "kernels/weight_format.h"

namespace isthmus {

constexpr int kPanel = 64;  // output channels of a panel

struct PackedLayout {
  int64_t out_padded = 0;
  int64_t in_padded = 0;
  int64_t groups = 0;         // of a channel; 1 without groups
  int64_t panel_bytes = 0;    // codes of one panel
  int64_t scale_offset = 0;   // bytes from the begin; = total_bytes for f32 and bf16
  int64_t level2_offset = 0;  // progressive only
  int64_t zero_offset = 0;
  int64_t total_bytes = 0;
};

// `out` and `in` are at least 1 and at most 2^31 - 64.
PackedLayout LayoutOf(const WeightFormatSpec& spec, int64_t out, int64_t in);

// The parts of a matrix as the kernels read them. Plain data: a header that target files include.
struct PackedView {
  WeightFormat format = WeightFormat::kF32;
  int group = 0;
  int64_t out = 0;
  int64_t in = 0;
  int64_t out_padded = 0;
  int64_t in_padded = 0;
  int64_t groups = 0;
  int64_t panel_bytes = 0;
  const uint8_t* codes = nullptr;
  const uint16_t* scales = nullptr;        // bf16 [panel][group][64]
  const float* channel_scales = nullptr;   // [out_padded]
  const uint8_t* level2 = nullptr;         // [panel][group][64]
  const uint8_t* zeros = nullptr;          // [panel][group][64]
  const float* backward_scales = nullptr;  // [out_padded]: see packed_matrix.cc
};

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_PACKED_LAYOUT_H_
