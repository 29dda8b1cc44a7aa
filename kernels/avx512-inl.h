// AVX-512 loops that avx512_kernels.cc and amx_kernels.cc share: the fp32 tile, unpacking, the
// transpose of integer codes and the product of one row. Included after portable-inl.h's vector is
// defined; no include guard on purpose.

namespace isthmus {
namespace {

inline __m512i LoadBytes(const void* p) { return _mm512_loadu_si512(p); }
inline void StoreBytes(void* p, __m512i v) { _mm512_storeu_si512(p, v); }

inline __m512i LowNibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
inline __m512i HighNibbles(__m512i v) { return LowNibbles(_mm512_srli_epi16(v, 4)); }

inline void PrefetchToL2(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

// ---- unpacking ---------------------------------------------------------------------------------

// The two 8-bit vectors (inputs 0..3 and 4..7 of 16 channels) of 64 bytes of 4-bit codes.
struct CodePair {
  __m512i low;
  __m512i high;
};

inline CodePair UnpackInt4(const uint8_t* codes) {
  const __m512i v = LoadBytes(codes);
  const __m512i eight = _mm512_set1_epi8(8);
  return {_mm512_sub_epi8(LowNibbles(v), eight), _mm512_sub_epi8(HighNibbles(v), eight)};
}

// Bytes of a times bytes of b, modulo 256: as 16-bit products of the even and of the odd bytes.
inline __m512i MultiplyBytes(__m512i a, __m512i b) {
  const __m512i even = _mm512_mullo_epi16(a, b);
  const __m512i odd = _mm512_mullo_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8));
  return _mm512_mask_blend_epi8(0xAAAAAAAAAAAAAAAAull, even, _mm512_slli_epi16(odd, 8));
}

// 16 bytes, each repeated over the 4 bytes of its channel's lane.
inline __m512i PerLane(const uint8_t* values) {
  const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)values));
  return _mm512_mullo_epi32(wide, _mm512_set1_epi32(0x01010101));
}

inline void StageInt4Wide(const uint8_t* codes, int depth, int8_t* out) {
  for (int k = 0; k < depth; k += 8, codes += 256, out += 512) {
    for (int j = 0; j < 4; ++j) {
      const CodePair pair = UnpackInt4(codes + j * 64);
      StoreBytes(out + j * 64, pair.low);
      StoreBytes(out + 256 + j * 64, pair.high);
    }
  }
}

inline void StageProgressiveWide(const PackedView& w, const BlockRange& range, int8_t* out) {
  const uint8_t* codes = CodesAt(w, range.panel, range.first, 4);
  for (int begin = 0; begin < range.depth; begin += 32) {
    const int64_t at = GroupAt(w, range.panel, range.first + begin);
    for (int j = 0; j < 4; ++j) {
      const __m512i scale = PerLane(w.level2 + at + j * 16);
      const __m512i offset = MultiplyBytes(scale, PerLane(w.zeros + at + j * 16));
      for (int k = begin; k < begin + 32; k += 8) {
        const __m512i v = LoadBytes(codes + k * 32 + j * 64);
        int8_t* to = out + k * 64 + j * 64;
        StoreBytes(to, _mm512_sub_epi8(MultiplyBytes(LowNibbles(v), scale), offset));
        StoreBytes(to + 256, _mm512_sub_epi8(MultiplyBytes(HighNibbles(v), scale), offset));
      }
    }
  }
}

[[maybe_unused]] void StageIntWide(const PackedView& w, const BlockRange& range, int8_t* out) {
  if (w.format == WeightFormat::kInt4Group) {
    StageInt4Wide(CodesAt(w, range.panel, range.first, 4), range.depth, out);
  } else if (w.format == WeightFormat::kProgressive4) {
    StageProgressiveWide(w, range, out);
  } else {
    StageInt(w, range, out);
  }
}

// ---- transpose ---------------------------------------------------------------------------------

// Codes of 16 channels x 16 inputs: four vectors of [16 channels][4 inputs] become four of
// [16 inputs][4 channels]. 4 x 4 bytes within each 128-bit lane, then 4 x 4 lanes.
inline void Transpose16(__m512i v[4]) {
  const __m512i bytes =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  for (int i = 0; i < 4; ++i) v[i] = _mm512_shuffle_epi8(v[i], bytes);
  const __m512i a = _mm512_shuffle_i32x4(v[0], v[1], 0x44);
  const __m512i b = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(v[0], v[1], 0xEE);
  const __m512i d = _mm512_shuffle_i32x4(v[2], v[3], 0xEE);
  v[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  v[1] = _mm512_shuffle_i32x4(a, b, 0xDD);
  v[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  v[3] = _mm512_shuffle_i32x4(c, d, 0xDD);
}

// Rescale of portable-inl.h on bytes that hold code << shift; `ratio` holds each channel's ratio in
// both halves of its lane. The odd bytes are where their product is wanted: shifts and products
// share one port, so the fewer the better.
inline __m512i RescaleBytes(__m512i codes, __m512i ratio) {
  const __m512i half = _mm512_set1_epi16(128);
  const __m512i high_bytes = _mm512_set1_epi16(static_cast<int16_t>(0xFF00));
  const __m512i even = _mm512_mulhrs_epi16(_mm512_slli_epi16(codes, 8), ratio);
  const __m512i odd = _mm512_mulhrs_epi16(_mm512_and_si512(codes, high_bytes), ratio);
  const __m512i low = _mm512_srli_epi16(_mm512_add_epi16(even, half), 8);
  return _mm512_mask_blend_epi8(0xAAAAAAAAAAAAAAAAull, low, _mm512_add_epi16(odd, half));
}

inline __m512 LoadScales(const uint16_t* scales) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

// BackwardRatio of 16 channels of a panel in the group of `input`, in both halves of each lane.
inline __m512i RatiosAt(const PackedView& w, int64_t panel, int64_t input, int j) {
  const __m512 scale = LoadScales(w.scales + GroupAt(w, panel, input) + j * 16);
  const __m512 whole = Load(w.backward_scales + panel * kPanel + j * 16);
  const __mmask16 positive = _mm512_cmp_ps_mask(whole, Zero(), _CMP_GT_OQ);
  const __m512 unit = Broadcast(w.format == WeightFormat::kInt4Group ? 2048.0f : 32768.0f);
  const __m512 ratio =
      _mm512_maskz_mul_ps(positive, _mm512_maskz_div_ps(positive, scale, whole), unit);
  const __m512 half = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(ratio, Zero(), _CMP_LT_OQ),
                                           Broadcast(0.5f), Broadcast(-0.5f));
  const __mmask16 below = _mm512_cmp_ps_mask(ratio, Broadcast(32767.0f), _CMP_LT_OQ);
  const __mmask16 above = _mm512_cmp_ps_mask(ratio, Broadcast(-32767.0f), _CMP_GT_OQ);
  __m512i rounded = _mm512_cvttps_epi32(_mm512_add_ps(ratio, half));
  rounded = _mm512_mask_mov_epi32(_mm512_set1_epi32(-32767), above, rounded);
  rounded = _mm512_mask_mov_epi32(_mm512_set1_epi32(32767), below, rounded);
  const __m512i low = _mm512_and_si512(rounded, _mm512_set1_epi32(0xFFFF));
  return _mm512_or_si512(low, _mm512_slli_epi32(rounded, 16));
}

// 16 inputs from input `k` of the 64 at `codes`, 16 channels j: codes relative to the backward
// scales.
template <bool kInt4, bool kScaled>
inline void LoadCodes(const uint8_t* codes, int k, int j, __m512i ratio, __m512i v[4]) {
  const __m512i high_nibbles = _mm512_set1_epi8(static_cast<char>(0xF0));
  const __m512i sign = _mm512_set1_epi8(-128);
  for (int i = 0; i < 4; i += 2) {
    if (kInt4) {
      // (u - 8) << 4 is u << 4 with the sign bit turned.
      const __m512i both = LoadBytes(codes + (k / 8 + i / 2) * 256 + j * 64);
      const __m512i low = _mm512_and_si512(_mm512_slli_epi16(both, 4), high_nibbles);
      v[i] = _mm512_xor_si512(low, sign);
      v[i + 1] = _mm512_xor_si512(_mm512_and_si512(both, high_nibbles), sign);
    } else {
      v[i] = LoadBytes(codes + (k / 4 + i) * 256 + j * 64);
      v[i + 1] = LoadBytes(codes + (k / 4 + i + 1) * 256 + j * 64);
    }
  }
  if (!kScaled) return;
  for (int i = 0; i < 4; ++i) v[i] = RescaleBytes(v[i], ratio);
}

// One panel's 64 channels x 64 inputs to [16 channel quads][64 inputs][4]. `ahead`: as many bytes
// of the codes that follow soon, which lie in another panel.
template <bool kInt4, bool kScaled>
void TransposePanel(const PackedView& w, const uint8_t* codes, int64_t panel, int64_t column,
                    const uint8_t* ahead, int8_t* out) {
  constexpr int kLines = kInt4 ? 2 : 4;
  for (int j = 0; j < 4; ++j) {
    __m512i ratio = _mm512_setzero_si512();
    for (int k = 0; k < 64; k += 16) {
      for (int i = 0; i < kLines; ++i, ahead += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T0);
      }
      if (kScaled && k % 32 == 0 && (k == 0 || w.group == 32)) {
        ratio = RatiosAt(w, panel, column + k, j);
      }
      __m512i v[4];
      LoadCodes<kInt4, kScaled>(codes, k, j, ratio, v);
      Transpose16(v);
      for (int i = 0; i < 4; ++i) StoreBytes(out + (j * 4 + i) * 256 + k * 4, v[i]);
    }
  }
}

// The codes that will be wanted two panels later: of this column, or behind the last panel of the
// next one.
inline const uint8_t* CodesAhead(const PackedView& w, int64_t panel, int64_t column, int bits) {
  const int64_t panels = w.out_padded / kPanel;
  if (panel + 2 < panels) return CodesAt(w, panel + 2, column, bits);
  const int64_t next = column + 64 < w.in_padded ? column + 64 : column;
  return CodesAt(w, (panel + 2) % panels, next, bits);
}

[[maybe_unused]] void StageIntTransposedWide(const PackedView& w, int64_t column,
                                             int64_t first_channel, int depth, int8_t* out) {
  alignas(64) int8_t restored[64 * kPanel];
  const int bits =
      w.format == WeightFormat::kInt4Group || w.format == WeightFormat::kProgressive4 ? 4 : 8;
  for (int n0 = 0; n0 < depth; n0 += kPanel, out += 64 * kPanel) {
    const int64_t panel = (first_channel + n0) / kPanel;
    const uint8_t* codes = CodesAt(w, panel, column, bits);
    const uint8_t* ahead = CodesAhead(w, panel, column, bits);
    if (w.format == WeightFormat::kInt4Group) {
      TransposePanel<true, true>(w, codes, panel, column, ahead, out);
    } else if (w.format == WeightFormat::kInt8Group) {
      TransposePanel<false, true>(w, codes, panel, column, ahead, out);
    } else if (w.format == WeightFormat::kInt8) {
      TransposePanel<false, false>(w, codes, panel, column, ahead, out);
    } else {
      StageProgressiveWide(w, {panel, column, 64}, restored);
      TransposePanel<false, false>(w, reinterpret_cast<const uint8_t*>(restored), panel, column,
                                   reinterpret_cast<const uint8_t*>(restored), out);
      for (int i = 0; i < 2048; i += 64) PrefetchToL2(ahead + i);
    }
  }
}

}  // namespace
}  // namespace isthmus
