// AVX-512 with VNNI (Ice Lake and later, Zen 4 and later).
#include <immintrin.h>

#include "kernels/kernel_table.h"

namespace isthmus {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 6;  // 6 x 4 accumulators of 32 registers
constexpr int kTileVecs = 4;
inline Vec Zero() { return _mm512_setzero_ps(); }
inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(Vec v, float* p) { _mm512_storeu_ps(p, v); }
inline Vec Broadcast(float v) { return _mm512_set1_ps(v); }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }

}  // namespace
}  // namespace isthmus

#include "kernels/portable-inl.h"
//
#include "kernels/avx512-inl.h"

namespace isthmus {
namespace {

// vpdpbusd multiplies unsigned by signed bytes: the activations carry +128, and every sum starts at
// -128 times the sum of its weights.
void ArrangeOffsetRows(const int8_t* codes, int64_t stride, int count, int depth, int8_t* out) {
  const int padded = (count + kRowTile - 1) / kRowTile * kRowTile;
  const __m512i offset = _mm512_set1_epi8(-128);
  for (int m = 0; m < padded; ++m, out += kBlock) {
    for (int k = 0; k < depth; k += 64) {
      const __m512i v = m < count ? LoadBytes(codes + m * stride + k) : _mm512_setzero_si512();
      StoreBytes(out + k, _mm512_xor_si512(v, offset));
    }
  }
}

int FoldEnd(const IntBlock& block, int begin) {
  return begin + block.fold < block.depth ? begin + block.fold : block.depth;
}

// Starts [folds][64] for all rows of a block: one vpdpbusd a vector of weights, 1/rows of the work.
void SumStarts(const IntBlock& block, int32_t* starts) {
  const __m512i ones = _mm512_set1_epi8(1);
  for (int begin = 0; begin < block.depth; begin += block.fold, starts += kPanel) {
    __m512i sum[4] = {};
    const int end = FoldEnd(block, begin);
    for (int k = begin; k < end; k += 4) {
      const int8_t* w = block.weights + k * kPanel;
      for (int j = 0; j < 4; ++j) sum[j] = _mm512_dpbusd_epi32(sum[j], ones, LoadBytes(w + j * 64));
    }
    for (int j = 0; j < 4; ++j) {
      const __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum[j], 7));
      StoreBytes(starts + j * 16, start);
    }
  }
}

// sum += unsigned bytes x signed bytes. As the intrinsic GCC 12 keeps 24 accumulators half in
// memory and copies the rest (38 % of the peak); as an instruction it leaves them where they are.
inline void Dot(__m512i& sum, __m512i unsigned_bytes, __m512i signed_bytes) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "v"(signed_bytes));
}

inline __m512i BroadcastQuad(const int8_t* x) {
  int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

// kRows x 64 sums over one fold: 24 accumulators for 6 rows, 10 loads for 24 products a step.
// kFetch: what comes next is asked for on the way, or the first pass over it would wait for memory
// (a tenth of the time of 128 rows).
template <int kRows, bool kFetch>
inline void SumFold(const int8_t* w, const int8_t* x, int length, const int32_t* starts,
                    const uint8_t* next, int next_step, __m512i (&sum)[kRows][4]) {
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum[m][j] = LoadBytes(starts + j * 16);
  }
  for (int k = 0; k < length; k += 4, w += 256, x += 4) {
    if (kFetch) {
      for (int i = 0; i < next_step; i += 64) PrefetchToL2(next + i);
      next += next_step;
    }
    __m512i column[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) column[j] = LoadBytes(w + j * 64);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const __m512i value = BroadcastQuad(x + m * kBlock);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) Dot(sum[m][j], value, column[j]);
    }
  }
}

// acc [kRows][64] = fma(sums, scale, acc): the columns' scales, or each row's own.
template <int kRows, bool kRowScales>
inline void FoldSums(const __m512i (&sum)[kRows][4], const float* scales, int64_t scale_stride,
                     bool fresh, float* acc) {
  __m512 scale[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) scale[j] = kRowScales ? Zero() : Load(scales + j * 16);
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    if (kRowScales) {
      const __m512 own = Broadcast(scales[m * scale_stride]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) scale[j] = own;
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      float* to = acc + m * kPanel + j * 16;
      const __m512 before = fresh ? Zero() : Load(to);
      Store(MulAdd(_mm512_cvtepi32_ps(sum[m][j]), scale[j], before), to);
    }
  }
}

template <int kRows, bool kFetch, bool kRowScales>
void IntTile(const IntBlock& block, const IntRows& rows, int m0, const int32_t* starts, float* acc,
             bool first) {
  const int8_t* x = rows.values + m0 * kBlock;
  acc += m0 * kPanel;
  for (int begin = 0, f = 0; begin < block.depth; begin += block.fold, ++f) {
    __m512i sum[kRows][4];
    const uint8_t* next =
        kFetch ? block.next + begin / 64 * block.next_stride + begin % 64 / 4 * block.next_step
               : nullptr;
    SumFold<kRows, kFetch>(block.weights + begin * kPanel, x + begin, FoldEnd(block, begin) - begin,
                           starts + f * kPanel, next, block.next_step, sum);
    const float* scales =
        kRowScales ? rows.scales + m0 * rows.scale_stride + f : block.scales + f * kPanel;
    if (first && f == 0) {
      FoldSums<kRows, kRowScales>(sum, scales, rows.scale_stride, true, acc);
    } else {
      FoldSums<kRows, kRowScales>(sum, scales, rows.scale_stride, false, acc);
    }
  }
}

template <bool kRowScales>
void IntTiles(const IntBlock& block, const IntRows& rows, const int32_t* starts, float* acc,
              bool first) {
  int m = 0;
  if (rows.rows >= 6 && block.next != nullptr) {
    IntTile<6, true, kRowScales>(block, rows, m, starts, acc, first);
    m += 6;
  }
  for (; m + 6 <= rows.rows; m += 6) {
    IntTile<6, false, kRowScales>(block, rows, m, starts, acc, first);
  }
  switch (rows.rows - m) {
    case 5:
      return IntTile<5, false, kRowScales>(block, rows, m, starts, acc, first);
    case 4:
      return IntTile<4, false, kRowScales>(block, rows, m, starts, acc, first);
    case 3:
      return IntTile<3, false, kRowScales>(block, rows, m, starts, acc, first);
    case 2:
      return IntTile<2, false, kRowScales>(block, rows, m, starts, acc, first);
    case 1:
      return IntTile<1, false, kRowScales>(block, rows, m, starts, acc, first);
    default:
      return;
  }
}

void MultiplyInt(const IntBlock& block, const IntRows& rows, float* acc, bool first) {
  alignas(64) int32_t starts[kBlock / 32 * kPanel];
  SumStarts(block, starts);
  if (block.scales == nullptr) {
    IntTiles<true>(block, rows, starts, acc, first);
  } else {
    IntTiles<false>(block, rows, starts, acc, first);
  }
}

// ---- one row -----------------------------------------------------------------------------------
// Here the weights are the unsigned side: codes + 128 (int8), codes + 8 (int4: as they lie), and a
// sum starts at minus that times the sum of the row's codes. Per 64 bytes one load and one product:
// far below the time memory takes to deliver them.

constexpr int kAhead = 2048;  // bytes; keeps the stream going across the pages' ends

inline int32_t SumOf(const int8_t* x, int length) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sum = _mm512_setzero_si512();
  int k = 0;
  for (; k + 64 <= length; k += 64) sum = _mm512_dpbusd_epi32(sum, ones, LoadBytes(x + k));
  if (k < length) {
    const __m512i half = _mm512_maskz_loadu_epi8(0xFFFFFFFFu, x + k);  // a group of 32
    sum = _mm512_dpbusd_epi32(sum, ones, half);
  }
  return _mm512_reduce_add_epi32(sum);
}

template <int kBits>
inline const uint8_t* VectorFold(const uint8_t* w, const int8_t* x, int length, __m512i sum[4]) {
  const __m512i start = _mm512_set1_epi32(-(kBits == 4 ? 8 : 128) * SumOf(x, length));
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) sum[j] = start;
  constexpr int kStep = kBits == 4 ? 8 : 4;
  for (int k = 0; k < length; k += kStep, w += 256) {
    const __m512i low = BroadcastQuad(x + k);
    const __m512i high = kBits == 4 ? BroadcastQuad(x + k + 4) : low;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      _mm_prefetch(reinterpret_cast<const char*>(w + j * 64 + kAhead), _MM_HINT_T0);
      const __m512i v = LoadBytes(w + j * 64);
      if (kBits == 4) {
        Dot(sum[j], LowNibbles(v), low);
        Dot(sum[j], HighNibbles(v), high);
      } else {
        Dot(sum[j], _mm512_xor_si512(v, _mm512_set1_epi8(-128)), low);
      }
    }
  }
  return w;
}

inline __m512 ScaleAt(const PackedView& w, int64_t panel, int64_t input, int j) {
  if (w.scales == nullptr) return Load(w.channel_scales + panel * kPanel + j * 16);
  return LoadScales(w.scales + GroupAt(w, panel, input) + j * 16);
}

template <int kBits>
void VectorPanel(const PackedView& w, int64_t panel, const int8_t* x, float* acc) {
  const uint8_t* codes = CodesAt(w, panel, 0, kBits);
  const int64_t fold = w.scales != nullptr ? w.group : kBlock;
  __m512 total[4] = {};
  for (int64_t k = 0; k < w.in_padded; k += fold) {
    const int64_t length = w.in_padded - k < fold ? w.in_padded - k : fold;
    __m512i sum[4];
    codes = VectorFold<kBits>(codes, x + k, static_cast<int>(length), sum);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      total[j] = MulAdd(_mm512_cvtepi32_ps(sum[j]), ScaleAt(w, panel, k, j), total[j]);
    }
  }
  for (int j = 0; j < 4; ++j) Store(total[j], acc + j * 16);
}

// Progressive codes need their own unpacking: 32 inputs at a time through L1.
void VectorProgressive(const PackedView& w, int64_t panel, const int8_t* x, float* acc) {
  alignas(64) int8_t restored[64 * kPanel];
  __m512 total[4] = {};
  for (int64_t begin = 0; begin < w.in_padded; begin += kBlock) {
    const int64_t end = begin + kBlock < w.in_padded ? begin + kBlock : w.in_padded;
    __m512i all[4] = {};
    for (int64_t k = begin; k < end; k += 64) {
      StageProgressiveWide(w, {panel, k, 64}, restored);
      __m512i sum[4];
      VectorFold<8>(reinterpret_cast<const uint8_t*>(restored), x + k, 64, sum);
      for (int j = 0; j < 4; ++j) all[j] = _mm512_add_epi32(all[j], sum[j]);
    }
    for (int j = 0; j < 4; ++j) {
      total[j] = MulAdd(_mm512_cvtepi32_ps(all[j]), ScaleAt(w, panel, begin, j), total[j]);
    }
  }
  for (int j = 0; j < 4; ++j) Store(total[j], acc + j * 16);
}

void MultiplyVector(const PackedView& w, int64_t panel, const int8_t* x, float* acc) {
  if (w.format == WeightFormat::kInt4Group) return VectorPanel<4>(w, panel, x, acc);
  if (w.format == WeightFormat::kProgressive4) return VectorProgressive(w, panel, x, acc);
  return VectorPanel<8>(w, panel, x, acc);
}

}  // namespace

const KernelTable* Avx512VnniKernels() {
  static constexpr KernelTable kTable = {
      .quantize_row = QuantizeRow,
      .arrange = ArrangeOffsetRows,
      .multiply_int = MultiplyInt,
      .int_vector = MultiplyVector,
      .stage_scales = StageScales,
      .stage_int = StageIntWide,
      .stage_int_transposed = StageIntTransposedWide,
      .multiply_f32 = MultiplyF32,
      .multiply_bf16 = nullptr,
      .write = WriteRows,
      .stage_f32 = StageF32,
      .stage_f32_transposed = StageF32Transposed,
  };
  return &kTable;
}

}  // namespace isthmus
