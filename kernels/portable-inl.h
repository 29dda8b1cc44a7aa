// Every loop of KernelTable as plain C++, compiled once per target file with that file's
// instruction set. The includer defines, in an anonymous namespace, a vector of floats and its
// tile:
//   Vec, kLanes, kTileRows, kTileVecs, Zero, Load, Store, Broadcast, MulAdd
// and takes what it does not replace by intrinsics. No include guard on purpose.

namespace isthmus {
namespace {

// ---- activations -------------------------------------------------------------------------------

inline uint32_t BitsOf(float v) {
  uint32_t bits;
  __builtin_memcpy(&bits, &v, 4);
  return bits;
}
inline float FloatOf(uint32_t bits) {
  float v;
  __builtin_memcpy(&v, &bits, 4);
  return v;
}

// Rounds |v| < 2^22 to the nearest integer, ties to even: the sum's unit in the last place is 1.
inline int8_t RoundToByte(float v) {
  return static_cast<int8_t>(static_cast<int32_t>(BitsOf(v + 12582912.0f)) - 0x4B400000);
}

[[maybe_unused]] void QuantizeGroup(const float* __restrict x, const float* __restrict factors,
                                    int64_t n, int8_t* __restrict codes, float* scale) {
  // As integers: magnitudes order like their bits, and a NaN is the largest of all.
  int32_t largest = 0;
  if (factors == nullptr) {
    for (int64_t i = 0; i < n; ++i) {
      const int32_t bits = static_cast<int32_t>(BitsOf(x[i]) & 0x7FFFFFFFu);
      largest = bits > largest ? bits : largest;
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
      const int32_t bits = static_cast<int32_t>(BitsOf(x[i] * factors[i]) & 0x7FFFFFFFu);
      largest = bits > largest ? bits : largest;
    }
  }
  const float magnitude = FloatOf(static_cast<uint32_t>(largest));
  if (largest >= 0x7F800000 || magnitude < 1e-30f) {
    // Below 1e-30 the inverse would overflow; such a row is zero for every purpose.
    *scale = largest >= 0x7F800000 ? FloatOf(0x7FC00000u) : 0.0f;
    for (int64_t i = 0; i < n; ++i) codes[i] = 0;
    return;
  }
  *scale = magnitude / 127.0f;
  const float inverse = 127.0f / magnitude;
  if (factors == nullptr) {
    for (int64_t i = 0; i < n; ++i) codes[i] = RoundToByte(x[i] * inverse);
  } else {
    for (int64_t i = 0; i < n; ++i) codes[i] = RoundToByte(x[i] * factors[i] * inverse);
  }
}

[[maybe_unused]] void QuantizeRow(const float* x, const float* factors, int64_t n, int64_t padded,
                                  int64_t group, int8_t* codes, float* scales) {
  for (int64_t begin = 0, g = 0; begin < n; begin += group, ++g) {
    const int64_t length = n - begin < group ? n - begin : group;
    QuantizeGroup(x + begin, factors == nullptr ? nullptr : factors + begin, length, codes + begin,
                  scales + g);
  }
  for (int64_t i = n; i < padded; ++i) codes[i] = 0;
}

// Tile t: 16 rows of kBlock bytes, row after row.
[[maybe_unused]] void ArrangeRows(const int8_t* codes, int64_t stride, int count, int depth,
                                  int8_t* out) {
  const int padded = (count + kRowTile - 1) / kRowTile * kRowTile;
  for (int m = 0; m < padded; ++m) {
    int8_t* row = out + static_cast<int64_t>(m) * kBlock;
    if (m < count) {
      __builtin_memcpy(row, codes + m * stride, static_cast<size_t>(depth));
    } else {
      __builtin_memset(row, 0, static_cast<size_t>(depth));
    }
  }
}

// ---- integer product ---------------------------------------------------------------------------

[[maybe_unused]] void FoldRow(const int32_t* sum, const float* scales, const float* row_scale,
                              float* acc) {
  for (int n = 0; n < kPanel; ++n) {
    const float scale = scales != nullptr ? scales[n] : *row_scale;
    acc[n] = __builtin_fmaf(static_cast<float>(sum[n]), scale, acc[n]);
  }
}

[[maybe_unused]] void MultiplyIntPlain(const IntBlock& block, const IntRows& rows, float* acc,
                                       bool first) {
  for (int m = 0; m < rows.rows; ++m, acc += kPanel) {
    if (first) __builtin_memset(acc, 0, kPanel * sizeof(float));
    const int8_t* x = rows.values + static_cast<int64_t>(m) * kBlock;
    for (int begin = 0, f = 0; begin < block.depth; begin += block.fold, ++f) {
      const int end = begin + block.fold < block.depth ? begin + block.fold : block.depth;
      int32_t sum[kPanel] = {};
      for (int k = begin; k < end; k += 4) {
        const int8_t* w = block.weights + static_cast<int64_t>(k) * kPanel;
        for (int n = 0; n < kPanel; ++n) {
          sum[n] += x[k] * w[4 * n] + x[k + 1] * w[4 * n + 1] + x[k + 2] * w[4 * n + 2] +
                    x[k + 3] * w[4 * n + 3];
        }
      }
      FoldRow(sum, block.scales == nullptr ? nullptr : block.scales + f * kPanel,
              rows.scales == nullptr ? nullptr : rows.scales + m * rows.scale_stride + f, acc);
    }
  }
}

[[maybe_unused]] void WriteRows(const float* acc, const float* row_scales, int rows, int columns,
                                int64_t stride, bool add, float* y) {
  for (int m = 0; m < rows; ++m, acc += kPanel, y += stride) {
    const float scale = row_scales == nullptr ? 1.0f : row_scales[m];
    if (add) {
      for (int n = 0; n < columns; ++n) y[n] += acc[n] * scale;
    } else {
      for (int n = 0; n < columns; ++n) y[n] = acc[n] * scale;
    }
  }
}

// ---- integer codes -----------------------------------------------------------------------------

inline const uint8_t* CodesAt(const PackedView& w, int64_t panel, int64_t input, int bits) {
  return w.codes + panel * w.panel_bytes + input * kPanel * bits / 8;
}
inline int64_t GroupAt(const PackedView& w, int64_t panel, int64_t input) {
  int64_t group = w.group > 0 ? input / w.group : 0;
  if (group >= w.groups) group = w.groups - 1;  // padding behind a ragged last group
  return (panel * w.groups + group) * kPanel;
}

inline void ScalesAt(const PackedView& w, int64_t panel, int64_t input, float* scales) {
  if (w.scales == nullptr) {
    for (int n = 0; n < kPanel; ++n) scales[n] = w.channel_scales[panel * kPanel + n];
    return;
  }
  const uint16_t* from = w.scales + GroupAt(w, panel, input);
  for (int n = 0; n < kPanel; ++n) scales[n] = FloatOf(static_cast<uint32_t>(from[n]) << 16);
}

[[maybe_unused]] void StageScales(const PackedView& w, const BlockRange& range, float* scales) {
  const int fold = w.scales != nullptr ? w.group : kBlock;
  for (int k = 0; k < range.depth; k += fold, scales += kPanel) {
    ScalesAt(w, range.panel, range.first + k, scales);
  }
}

[[maybe_unused]] void StageInt4(const uint8_t* __restrict codes, int depth,
                                int8_t* __restrict out) {
  for (int k = 0; k < depth; k += 8, codes += 256, out += 512) {
    for (int i = 0; i < 256; ++i) {
      out[i] = static_cast<int8_t>((codes[i] & 15) - 8);
      out[256 + i] = static_cast<int8_t>((codes[i] >> 4) - 8);
    }
  }
}

// 8-bit codes of level 1: u4 * scale - zero * scale, modulo 256.
[[maybe_unused]] void StageProgressive(const PackedView& w, const BlockRange& range,
                                       int8_t* __restrict out) {
  const uint8_t* codes = CodesAt(w, range.panel, range.first, 4);
  for (int k = 0; k < range.depth; k += 8, codes += 256, out += 512) {
    const int64_t at = GroupAt(w, range.panel, range.first + k);
    uint8_t scale[256];
    uint8_t offset[256];
    for (int i = 0; i < 256; ++i) {
      scale[i] = w.level2[at + i / 4];
      offset[i] = static_cast<uint8_t>(scale[i] * w.zeros[at + i / 4]);
    }
    for (int i = 0; i < 256; ++i) {
      out[i] = static_cast<int8_t>(static_cast<uint8_t>((codes[i] & 15) * scale[i] - offset[i]));
      out[256 + i] =
          static_cast<int8_t>(static_cast<uint8_t>((codes[i] >> 4) * scale[i] - offset[i]));
    }
  }
}

[[maybe_unused]] void StageInt(const PackedView& w, const BlockRange& range, int8_t* out) {
  if (w.format == WeightFormat::kInt4Group) {
    StageInt4(CodesAt(w, range.panel, range.first, 4), range.depth, out);
  } else if (w.format == WeightFormat::kProgressive4) {
    StageProgressive(w, range, out);
  } else {
    __builtin_memcpy(out, CodesAt(w, range.panel, range.first, 8),
                     static_cast<size_t>(range.depth) * kPanel);
  }
}

// What turns a code of (channel, group) into the 8-bit code relative to the channel's backward
// scale: its value in units of 2^-8, in 16 bits, is (code << shift) * 256 * ratio / 2^15, rounded,
// and is rounded once more to an integer. int4: |ratio| <= 127/8 in units of 2^-11, shift 4; int8:
// |ratio|
// <= 1 in units of 2^-15.
inline int ShiftOf(WeightFormat format) { return format == WeightFormat::kInt4Group ? 4 : 0; }
inline int16_t BackwardRatio(const PackedView& w, int64_t channel, int64_t at) {
  const float scale = FloatOf(static_cast<uint32_t>(w.scales[at]) << 16);
  const float whole = w.backward_scales[channel];
  const float unit = w.format == WeightFormat::kInt4Group ? 2048.0f : 32768.0f;
  const float ratio = whole > 0.0f ? scale / whole * unit : 0.0f;
  if (!(ratio < 32767.0f)) return 32767;  // also the NaN that a foreign file may hold
  if (!(ratio > -32767.0f)) return -32767;
  return static_cast<int16_t>(ratio < 0.0f ? ratio - 0.5f : ratio + 0.5f);
}
inline int8_t Rescale(int8_t code, int shift, int16_t ratio) {
  const int fine = (code * (256 << shift) * ratio + 0x4000) >> 15;
  return static_cast<int8_t>(static_cast<int16_t>(fine + 128) >> 8);
}

// 4 inputs x 64 channels at a time, in place; ratios [64][4], each channel's four times.
inline void RescaleQuad(int8_t* __restrict codes, const int16_t* __restrict ratios, int shift) {
  for (int i = 0; i < kPanel * 4; ++i) codes[i] = Rescale(codes[i], shift, ratios[i]);
}

// 64 inputs x 64 channels from [inputs/4][64][4] to [channels/4][64][4]: 4 x 4 bytes at a time.
inline void TransposeQuads(const int8_t* staged, int8_t* out) {
  typedef int8_t Bytes16 __attribute__((vector_size(16)));
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < 16; ++n) {
      Bytes16 quads;
      __builtin_memcpy(&quads, staged + k * 256 + n * 16, 16);
      const Bytes16 turned = __builtin_shufflevector(quads, quads, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6,
                                                     10, 14, 3, 7, 11, 15);
      __builtin_memcpy(out + n * 256 + k * 16, &turned, 16);
    }
  }
}

[[maybe_unused]] void StageIntTransposed(const PackedView& w, int64_t column, int64_t first_channel,
                                         int depth, int8_t* out) {
  int8_t staged[kPanel * 64];
  int16_t ratios[kPanel * 4];
  for (int n0 = 0; n0 < depth; n0 += kPanel, out += kPanel * 64) {
    const int64_t panel = (first_channel + n0) / kPanel;
    StageInt(w, {panel, column, 64}, staged);
    for (int k = 0; k < 64 && w.scales != nullptr; k += 4) {
      if (k % 32 == 0) {
        const int64_t at = GroupAt(w, panel, column + k);
        for (int n = 0; n < kPanel; ++n) {
          const int16_t ratio = BackwardRatio(w, panel * kPanel + n, at + n);
          for (int i = 0; i < 4; ++i) ratios[4 * n + i] = ratio;
        }
      }
      RescaleQuad(staged + k * kPanel, ratios, ShiftOf(w.format));
    }
    TransposeQuads(staged, out);
  }
}

// ---- fp32 --------------------------------------------------------------------------------------

template <int kRows, int kVecs>
void F32Tile(const float* w, int depth, const float* x, int64_t stride, float* acc, bool first) {
  Vec sum[kRows][kVecs];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      sum[m][v] = first ? Zero() : Load(acc + m * kPanel + v * kLanes);
    }
  }
  for (int k = 0; k < depth; ++k, w += kPanel) {
    Vec column[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) column[v] = Load(w + v * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const Vec value = Broadcast(x[m * stride + k]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) sum[m][v] = MulAdd(value, column[v], sum[m][v]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) Store(sum[m][v], acc + m * kPanel + v * kLanes);
  }
}

// Narrow products (a LoRA of rank 8) compute one vector of columns, not a whole panel.
template <int kRows>
void F32Rows(const F32Block& block, const float* x, int64_t stride, float* acc, bool first) {
  const float* w = block.weights;
  int n = 0;
  for (; n + kTileVecs * kLanes <= block.columns; n += kTileVecs * kLanes) {
    F32Tile<kRows, kTileVecs>(w + n, block.depth, x, stride, acc + n, first);
  }
  for (; n < block.columns; n += kLanes) {
    F32Tile<kRows, 1>(w + n, block.depth, x, stride, acc + n, first);
  }
}

[[maybe_unused]] void MultiplyF32(const F32Block& block, const float* x, int64_t stride, int rows,
                                  float* acc, bool first) {
  int m = 0;
  for (; m + kTileRows <= rows; m += kTileRows) {
    F32Rows<kTileRows>(block, x + m * stride, stride, acc + m * kPanel, first);
  }
  x += m * stride;
  acc += m * kPanel;
  switch (rows - m) {
    case 5:
      return F32Rows<5>(block, x, stride, acc, first);
    case 4:
      return F32Rows<4>(block, x, stride, acc, first);
    case 3:
      return F32Rows<3>(block, x, stride, acc, first);
    case 2:
      return F32Rows<2>(block, x, stride, acc, first);
    case 1:
      return F32Rows<1>(block, x, stride, acc, first);
    default:
      return;
  }
}

// ---- any format to fp32 ------------------------------------------------------------------------

// 8-bit codes of 4 inputs [64][4] to 4 rows of fp32.
inline void FloatsOfInt8(const int8_t* __restrict codes, const float* __restrict scales,
                         float* __restrict out) {
  for (int i = 0; i < 4; ++i) {
    for (int n = 0; n < kPanel; ++n) {
      out[i * kPanel + n] = static_cast<float>(codes[4 * n + i]) * scales[n];
    }
  }
}

inline void StageF32Wide(const PackedView& w, const BlockRange& range, float* out) {
  if (w.format == WeightFormat::kF32) {
    __builtin_memcpy(out, CodesAt(w, range.panel, range.first, 32),
                     static_cast<size_t>(range.depth) * kPanel * 4);
    return;
  }
  const uint8_t* codes = CodesAt(w, range.panel, range.first, 16);
  for (int k = 0; k < range.depth; k += 2, codes += kPanel * 4, out += 2 * kPanel) {
    for (int n = 0; n < kPanel; ++n) {
      uint32_t pair;
      __builtin_memcpy(&pair, codes + 4 * n, 4);
      out[n] = FloatOf(pair << 16);
      out[kPanel + n] = FloatOf(pair & 0xFFFF0000u);
    }
  }
}

inline void StageF32Table(const PackedView& w, const BlockRange& range, float* out) {
  const float* table = DecodeTable(w.format);
  const bool nibbles = w.format != WeightFormat::kFp8;
  const uint8_t* codes = CodesAt(w, range.panel, range.first, nibbles ? 4 : 8);
  float scales[kPanel];
  for (int k = 0; k < range.depth; ++k, out += kPanel) {
    if (k % 32 == 0) ScalesAt(w, range.panel, range.first + k, scales);
    const uint8_t* at = codes + (nibbles ? k / 8 : k / 4) * (kPanel * 4) + k % 4;
    const int shift = nibbles && k % 8 >= 4 ? 4 : 0;
    const int mask = nibbles ? 15 : 255;
    for (int n = 0; n < kPanel; ++n) out[n] = table[(at[4 * n] >> shift) & mask] * scales[n];
  }
}

[[maybe_unused]] void StageF32(const PackedView& w, const BlockRange& range, float* out) {
  if (w.format == WeightFormat::kF32 || w.format == WeightFormat::kBf16) {
    return StageF32Wide(w, range, out);
  }
  if (w.format == WeightFormat::kFp8 || w.format == WeightFormat::kNf4Group ||
      w.format == WeightFormat::kFp4Group) {
    return StageF32Table(w, range, out);
  }
  int8_t staged[32 * kPanel];
  float scales[kPanel];
  for (int k = 0; k < range.depth; k += 32) {
    StageInt(w, {range.panel, range.first + k, 32}, staged);
    ScalesAt(w, range.panel, range.first + k, scales);
    for (int i = 0; i < 32; i += 4) {
      FloatsOfInt8(staged + i * kPanel, scales, out + (k + i) * kPanel);
    }
  }
}

[[maybe_unused]] void StageF32Transposed(const PackedView& w, int64_t column, int64_t first_channel,
                                         int depth, float* out) {
  float staged[64 * kPanel];
  for (int n0 = 0; n0 < depth; n0 += kPanel) {
    StageF32(w, {(first_channel + n0) / kPanel, column, 64}, staged);
    for (int n = 0; n < kPanel; ++n) {
      for (int k = 0; k < 64; ++k) out[(n0 + n) * kPanel + k] = staged[k * kPanel + n];
    }
  }
}

}  // namespace
}  // namespace isthmus
