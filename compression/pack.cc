// Code bytes to bit streams and back. 8 and 4 bits are vector code; the other widths take 8 codes
// at a time through one 64-bit word.
#include <algorithm>
#include <cstring>

#include "compression/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/pack.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Byte k holds code 2k in its low half and code 2k + 1 in its high half. n is even.
void PackNibbles(const uint8_t* codes, size_t n, uint8_t* out) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<uint16_t> d16;
  const hn::Repartition<uint8_t, decltype(d16)> d8;
  const hn::Rebind<uint8_t, decltype(d16)> half8;
  const hn::RebindToSigned<decltype(d16)> di16;
  const size_t lanes = hn::Lanes(d8);
  for (; i + lanes <= n; i += lanes) {
    const auto pair = hn::BitCast(d16, hn::LoadU(d8, codes + i));  // low byte: even code
    const auto both = hn::And(hn::Or(pair, hn::ShiftRight<4>(pair)), hn::Set(d16, uint16_t{0xFF}));
    hn::StoreU(hn::DemoteTo(half8, hn::BitCast(di16, both)), half8, out + i / 2);
  }
#endif
  for (; i < n; i += 2) out[i / 2] = static_cast<uint8_t>(codes[i] | codes[i + 1] << 4);
}

void UnpackNibbles(const uint8_t* in, size_t n, uint8_t* codes) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<uint16_t> d16;
  const hn::Repartition<uint8_t, decltype(d16)> d8;
  const hn::Rebind<uint8_t, decltype(d16)> half8;
  const size_t lanes = hn::Lanes(d8);
  for (; i + lanes <= n; i += lanes) {
    const auto wide = hn::PromoteTo(d16, hn::LoadU(half8, in + i / 2));
    const auto spread =
        hn::And(hn::Or(wide, hn::ShiftLeft<4>(wide)), hn::Set(d16, uint16_t{0x0F0F}));
    hn::StoreU(hn::BitCast(d8, spread), d8, codes + i);
  }
#endif
  for (; i < n; i += 2) {
    codes[i] = in[i / 2] & 0x0F;
    codes[i + 1] = in[i / 2] >> 4;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {

HWY_EXPORT(PackNibbles);
HWY_EXPORT(UnpackNibbles);

// 8 codes in the bytes of a word: neighbours are joined to fields of 2, 4 and 8 codes.
template <int kBits>
uint64_t JoinEight(const uint8_t* codes) {
  constexpr uint64_t kBytes = 0x00FF00FF00FF00FFu, kPairs = 0x0000FFFF0000FFFFu;
  uint64_t word;
  std::memcpy(&word, codes, 8);
  word = (word & kBytes) | (word & ~kBytes) >> (8 - kBits);
  word = (word & kPairs) | (word & ~kPairs) >> (16 - 2 * kBits);
  return (word & 0xFFFFFFFFu) | (word >> 32) << (4 * kBits);
}

template <int kBits>
void SplitEight(uint64_t word, uint8_t* codes) {
  constexpr uint64_t kFour = (uint64_t{1} << (4 * kBits)) - 1;
  constexpr uint64_t kTwo = ((uint64_t{1} << (2 * kBits)) - 1) * 0x0000000100000001u;
  constexpr uint64_t kOne = ((uint64_t{1} << kBits) - 1) * 0x0001000100010001u;
  word = (word & kFour) | ((word >> (4 * kBits)) & kFour) << 32;
  word = (word & kTwo) | ((word >> (2 * kBits)) & kTwo) << 16;
  word = (word & kOne) | ((word >> kBits) & kOne) << 8;
  std::memcpy(codes, &word, 8);
}

// Whole words are moved as long as 8 bytes of the stream are left: the bytes behind the 8 codes are
// written by the next ones.
template <int kBits>
void PackEights(const uint8_t* codes, size_t n, uint8_t* out) {
  size_t left = PackedBytes(n, kBits);
  for (; left >= 8; left -= kBits, codes += 8, out += kBits) {
    const uint64_t word = JoinEight<kBits>(codes);
    std::memcpy(out, &word, 8);
  }
  for (; left > 0; left -= kBits, codes += 8, out += kBits) {
    const uint64_t word = JoinEight<kBits>(codes);
    std::memcpy(out, &word, kBits);
  }
}

template <int kBits>
void UnpackEights(const uint8_t* in, size_t n, uint8_t* codes) {
  size_t left = PackedBytes(n, kBits);
  uint64_t word = 0;
  for (; left >= 8; left -= kBits, codes += 8, in += kBits) {
    std::memcpy(&word, in, 8);
    SplitEight<kBits>(word, codes);
  }
  for (; left > 0; left -= kBits, codes += 8, in += kBits) {
    word = 0;
    std::memcpy(&word, in, kBits);
    SplitEight<kBits>(word, codes);
  }
}

// n is a multiple of 8.
void PackWhole(const uint8_t* codes, size_t n, int bits, uint8_t* out) {
  switch (bits) {
    case 1:
      return PackEights<1>(codes, n, out);
    case 2:
      return PackEights<2>(codes, n, out);
    case 3:
      return PackEights<3>(codes, n, out);
    case 4:
      return HWY_DYNAMIC_DISPATCH(PackNibbles)(codes, n, out);
    case 5:
      return PackEights<5>(codes, n, out);
    case 6:
      return PackEights<6>(codes, n, out);
    case 7:
      return PackEights<7>(codes, n, out);
    default:
      std::memcpy(out, codes, n);
  }
}

void UnpackWhole(const uint8_t* in, size_t n, int bits, uint8_t* codes) {
  switch (bits) {
    case 1:
      return UnpackEights<1>(in, n, codes);
    case 2:
      return UnpackEights<2>(in, n, codes);
    case 3:
      return UnpackEights<3>(in, n, codes);
    case 4:
      return HWY_DYNAMIC_DISPATCH(UnpackNibbles)(in, n, codes);
    case 5:
      return UnpackEights<5>(in, n, codes);
    case 6:
      return UnpackEights<6>(in, n, codes);
    case 7:
      return UnpackEights<7>(in, n, codes);
    default:
      std::memcpy(codes, in, n);
  }
}

}  // namespace

void PackBits(const uint8_t* codes, size_t n, int bits, uint8_t* out) {
  const size_t whole = n - n % 8;
  if (whole > 0) PackWhole(codes, whole, bits, out);
  if (whole == n) return;
  uint8_t tail[8] = {}, packed[8];
  std::memcpy(tail, codes + whole, n - whole);
  PackWhole(tail, 8, bits, packed);
  std::memcpy(out + PackedBytes(whole, bits), packed, PackedBytes(n - whole, bits));
}

void UnpackBits(const uint8_t* in, size_t n, int bits, uint8_t* codes) {
  const size_t whole = n - n % 8;
  if (whole > 0) UnpackWhole(in, whole, bits, codes);
  if (whole == n) return;
  uint8_t packed[8] = {}, tail[8];
  std::memcpy(packed, in + PackedBytes(whole, bits), PackedBytes(n - whole, bits));
  UnpackWhole(packed, 8, bits, tail);
  std::memcpy(codes + whole, tail, n - whole);
}

}  // namespace isthmus
#endif  // HWY_ONCE
