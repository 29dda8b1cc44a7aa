// The product of one row on 64-bit ARM: the packed weights stream by once, as they lie. The
// includer defines, in an anonymous namespace,
//   int32x4_t AddProducts(int32x4_t sum, int8x16_t w, int8x16_t x)
// which adds 4 products to each of 4 channels. No include guard on purpose.

namespace isthmus {
namespace {

constexpr int kVectors = kPanel / 4;  // 16 accumulators of 4 channels

inline int32_t SumOf(const int8_t* x, int length) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int k = 0; k < length; k += 16) sum = vpadalq_s16(sum, vpaddlq_s8(vld1q_s8(x + k)));
  return vaddvq_s32(sum);
}

// 4-bit codes are multiplied as they lie, 8 too large: a sum starts at -8 times that of the row's
// codes. Returns what follows the fold.
template <int kBits>
inline const uint8_t* RowFold(const uint8_t* w, const int8_t* x, int length,
                              int32x4_t (&sum)[kVectors]) {
  const int32x4_t start = vdupq_n_s32(kBits == 4 ? -8 * SumOf(x, length) : 0);
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) sum[v] = start;
  constexpr int kStep = kBits == 4 ? 8 : 4;
  for (int k = 0; k < length; k += kStep, w += 256) {
    const int8x16_t low = BroadcastQuad(x + k);
    const int8x16_t high = kBits == 4 ? BroadcastQuad(x + k + 4) : low;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const uint8x16_t codes = vld1q_u8(w + v * 16);
      if (kBits == 4) {
        const uint8x16_t nibbles = vandq_u8(codes, vdupq_n_u8(15));
        sum[v] = AddProducts(sum[v], vreinterpretq_s8_u8(nibbles), low);
        sum[v] = AddProducts(sum[v], vreinterpretq_s8_u8(vshrq_n_u8(codes, 4)), high);
      } else {
        sum[v] = AddProducts(sum[v], vreinterpretq_s8_u8(codes), low);
      }
    }
  }
  return w;
}

// acc [64] = fma(sums, the scales at `input`, acc).
inline void FoldRowSums(const PackedView& w, int64_t panel, int64_t input,
                        const int32x4_t (&sum)[kVectors], float* acc) {
  const bool grouped = w.scales != nullptr;
  const int64_t at = grouped ? GroupAt(w, panel, input) : panel * kPanel;
  for (int v = 0; v < kVectors; ++v) {
    const int64_t n = v * kLanes;
    const Vec scale = grouped ? LoadScales(w.scales + at + n) : Load(w.channel_scales + at + n);
    Store(MulAdd(vcvtq_f32_s32(sum[v]), scale, Load(acc + n)), acc + n);
  }
}

template <int kBits>
void RowPanel(const PackedView& w, int64_t panel, const int8_t* x, float* acc) {
  const uint8_t* codes = CodesAt(w, panel, 0, kBits);
  const int64_t fold = w.scales != nullptr ? w.group : kBlock;
  for (int64_t k = 0; k < w.in_padded; k += fold) {
    const int64_t length = w.in_padded - k < fold ? w.in_padded - k : fold;
    int32x4_t sum[kVectors];
    codes = RowFold<kBits>(codes, x + k, static_cast<int>(length), sum);
    FoldRowSums(w, panel, k, sum, acc);
  }
}

// Progressive codes need their own unpacking: 64 inputs at a time through L1.
void RowProgressive(const PackedView& w, int64_t panel, const int8_t* x, float* acc) {
  int8_t restored[64 * kPanel];
  for (int64_t begin = 0; begin < w.in_padded; begin += kBlock) {
    const int64_t end = begin + kBlock < w.in_padded ? begin + kBlock : w.in_padded;
    int32x4_t all[kVectors] = {};
    for (int64_t k = begin; k < end; k += 64) {
      StageProgressive(w, {panel, k, 64}, restored);
      int32x4_t sum[kVectors];
      RowFold<8>(reinterpret_cast<const uint8_t*>(restored), x + k, 64, sum);
      for (int v = 0; v < kVectors; ++v) all[v] = vaddq_s32(all[v], sum[v]);
    }
    FoldRowSums(w, panel, begin, all, acc);
  }
}

void MultiplyRow(const PackedView& w, int64_t panel, const int8_t* x, float* acc) {
  __builtin_memset(acc, 0, kPanel * sizeof(float));
  if (w.format == WeightFormat::kInt4Group) return RowPanel<4>(w, panel, x, acc);
  if (w.format == WeightFormat::kProgressive4) return RowProgressive(w, panel, x, acc);
  return RowPanel<8>(w, panel, x, acc);
}

}  // namespace
}  // namespace isthmus
