// Philox4x32-10 (Salmon et al., SC 2011) for consecutive counters, one counter per lane; equals
// base/rng.h word for word.
#include <algorithm>
#include <array>
#include <cstdint>

#include "base/rng.h"
#include "compression/kernels.h"
#include "compression/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/noise.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

void FillNoise(uint64_t key, uint64_t first, uint64_t high, size_t n, float* noise) {
  reference::FillNoise(key, first, high, n, noise);
}

#else

using DU = hn::ScalableTag<uint32_t>;
using VU = hn::Vec<DU>;

// The upper and lower halves of the 64-bit products of every lane.
HWY_INLINE void MulWide(DU d, VU a, VU b, VU* high, VU* low) {
  const hn::Repartition<uint64_t, DU> d64;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, a))), b);
  *high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
  *low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
}

void FillNoise(uint64_t key, uint64_t first, uint64_t high, size_t n, float* noise) {
  const DU d;
  const hn::RebindToFloat<DU> df;
  const hn::RebindToSigned<DU> di;
  const size_t lanes = hn::Lanes(d);
  const VU m0 = hn::Set(d, 0xD2511F53u), m1 = hn::Set(d, 0xCD9E8D57u);
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const uint64_t counter = (first + i) / 4;
    if (static_cast<uint32_t>(counter) > UINT32_MAX - lanes)
      break;  // the lanes would carry into the upper word
    VU c0 = hn::Add(hn::Iota(d, 0u), hn::Set(d, static_cast<uint32_t>(counter)));
    VU c1 = hn::Set(d, static_cast<uint32_t>(counter >> 32));
    VU c2 = hn::Set(d, static_cast<uint32_t>(high)),
       c3 = hn::Set(d, static_cast<uint32_t>(high >> 32));
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
      VU high0, low0, high1, low1;
      MulWide(d, c0, m0, &high0, &low0);
      MulWide(d, c2, m1, &high1, &low1);
      c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(d, k0));
      c1 = low1;
      c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(d, k1));
      c3 = low0;
    }
    const auto centred = [&](VU word) HWY_ATTR {
      const auto unit = hn::Mul(hn::ConvertTo(df, hn::BitCast(di, hn::ShiftRight<8>(word))),
                                hn::Set(df, 0x1p-24f));
      return hn::Sub(unit, hn::Set(df, 0.5f - 0x1p-25f));
    };
    hn::StoreInterleaved4(centred(c0), centred(c1), centred(c2), centred(c3), df, noise + i);
  }
  reference::FillNoise(key, first + i, high, n - i, noise + i);
}

#endif  // HWY_TARGET

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(FillNoise);
}  // namespace

void FillNoise(uint64_t key, uint64_t first, uint64_t high, size_t n, float* noise) {
  HWY_DYNAMIC_DISPATCH(FillNoise)(key, first, high, n, noise);
}

}  // namespace isthmus
#endif  // HWY_ONCE
