#include "base/crc32c.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <array>
#include <cstring>

namespace isthmus {
namespace {

// Slicing by eight: kTables[k][b] is the checksum of byte b followed by k zero bytes.
constexpr std::array<std::array<uint32_t, 256>, 8> MakeTables() {
  std::array<std::array<uint32_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c >> 1) ^ ((c & 1) ? 0x82f63b78u : 0);
    t[0][i] = c;
  }
  for (size_t k = 1; k < 8; ++k)
    for (uint32_t i = 0; i < 256; ++i) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
  return t;
}
constexpr auto kTables = MakeTables();

uint32_t Portable(const uint8_t* p, size_t n, uint32_t c) {
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    v ^= c;
    c = kTables[7][v & 0xff] ^ kTables[6][(v >> 8) & 0xff] ^ kTables[5][(v >> 16) & 0xff] ^
        kTables[4][(v >> 24) & 0xff] ^ kTables[3][(v >> 32) & 0xff] ^ kTables[2][(v >> 40) & 0xff] ^
        kTables[1][(v >> 48) & 0xff] ^ kTables[0][v >> 56];
  }
  for (; n > 0; ++p, --n) c = (c >> 8) ^ kTables[0][(c ^ *p) & 0xff];
  return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Sse42(const uint8_t* p, size_t n, uint32_t c) {
  uint64_t c64 = c;
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    c64 = __builtin_ia32_crc32di(c64, v);
  }
  c = static_cast<uint32_t>(c64);
  for (; n > 0; ++p, --n) c = __builtin_ia32_crc32qi(c, *p);
  return c;
}

// Folding (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel
// 2009). Bytes are a polynomial; 128 bits of it are added to those that lie n bits behind them
// after multiplication by x^n modulo P: two carry-less products. Four registers at a time keep the
// multiplier busy. What is left in the end has the checksum of the whole and goes through the crc32
// instruction, which alone would wait three cycles for every 8 bytes.

// x^bits modulo P, bit-reflected like the data, and shifted for the product's missing bit.
constexpr uint64_t FoldConstant(int bits) {
  uint32_t power = 0x80000000u;  // x^0
  for (int i = 0; i < bits; ++i) power = (power >> 1) ^ ((power & 1) ? 0x82f63b78u : 0);
  return uint64_t{power} << 1;
}

constexpr size_t kFold128Bytes = 4 * 16;  // a round of four registers
constexpr uint64_t kFold128Low = FoldConstant(8 * 64 + 32),
                   kFold128High = FoldConstant(8 * 64 - 32);
constexpr size_t kFold512Bytes = 4 * 64;
constexpr size_t kFold512From = 4 * kFold512Bytes;  // the end of it takes as long as three rounds
constexpr size_t kAheadBytes = 4096;                // a fifth faster on bytes that are in no cache
constexpr uint64_t kFold512Low = FoldConstant(8 * 256 + 32),
                   kFold512High = FoldConstant(8 * 256 - 32);

inline __m128i Load(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// Whole rounds of at least one; the rest of `n` is the caller's.
__attribute__((target("sse4.2,pclmul"))) uint32_t Fold128(const uint8_t* p, size_t n, uint32_t c) {
  const __m128i k =
      _mm_set_epi64x(static_cast<int64_t>(kFold128High), static_cast<int64_t>(kFold128Low));
  __m128i part[4];
  for (int i = 0; i < 4; ++i) part[i] = Load(p + 16 * i);
  part[0] = _mm_xor_si128(part[0], _mm_cvtsi32_si128(static_cast<int>(c)));
  for (p += kFold128Bytes; n >= 2 * kFold128Bytes; p += kFold128Bytes, n -= kFold128Bytes) {
    for (int i = 0; i < 4; ++i) {
      const __m128i folded = _mm_xor_si128(_mm_clmulepi64_si128(part[i], k, 0x00),
                                           _mm_clmulepi64_si128(part[i], k, 0x11));
      part[i] = _mm_xor_si128(folded, Load(p + 16 * i));
    }
  }
  uint8_t rest[kFold128Bytes];
  std::memcpy(rest, part, sizeof(rest));
  return Sse42(rest, sizeof(rest), 0);
}

__attribute__((target("avx512f,vpclmulqdq,sse4.2"))) uint32_t Fold512(const uint8_t* p, size_t n,
                                                                      uint32_t c) {
  constexpr auto kLow = static_cast<int64_t>(kFold512Low);
  constexpr auto kHigh = static_cast<int64_t>(kFold512High);
  const __m512i k = _mm512_set_epi64(kHigh, kLow, kHigh, kLow, kHigh, kLow, kHigh, kLow);
  __m512i part[4];
  for (int i = 0; i < 4; ++i) part[i] = _mm512_loadu_si512(p + 64 * i);
  part[0] =
      _mm512_xor_si512(part[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(c))));
  for (p += kFold512Bytes; n >= 2 * kFold512Bytes; p += kFold512Bytes, n -= kFold512Bytes) {
    for (int i = 0; i < 4; ++i) {
      __builtin_prefetch(p + kAheadBytes + 64 * i);
      const __m512i low = _mm512_clmulepi64_epi128(part[i], k, 0x00);
      const __m512i high = _mm512_clmulepi64_epi128(part[i], k, 0x11);
      // 0x96: exclusive or of three.
      part[i] = _mm512_ternarylogic_epi64(low, high, _mm512_loadu_si512(p + 64 * i), 0x96);
    }
  }
  uint8_t rest[kFold512Bytes];
  std::memcpy(rest, part, sizeof(rest));
  return Sse42(rest, sizeof(rest), 0);
}
#endif

}  // namespace

CrcPath BestCrcPath() {
#if defined(__x86_64__)
  static const CrcPath best = [] {
    if (!__builtin_cpu_supports("sse4.2")) return CrcPath::kPortable;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq"))
      return CrcPath::kFold512;
    return __builtin_cpu_supports("pclmul") ? CrcPath::kFold128 : CrcPath::kSse42;
  }();
  return best;
#else
  return CrcPath::kPortable;
#endif
}

uint32_t Crc32cBy(CrcPath path, absl::Span<const uint8_t> bytes, uint32_t previous) {
  const uint8_t* p = bytes.data();
  size_t n = bytes.size();
  uint32_t c = ~previous;
#if defined(__x86_64__)
  if (path != CrcPath::kPortable) {
    if (path == CrcPath::kFold512 && n >= kFold512From) {
      c = Fold512(p, n, c);
      p += n - n % kFold512Bytes;
      n %= kFold512Bytes;
    }
    if (path >= CrcPath::kFold128 && n >= kFold128Bytes) {
      c = Fold128(p, n, c);
      p += n - n % kFold128Bytes;
      n %= kFold128Bytes;
    }
    return ~Sse42(p, n, c);
  }
#endif
  static_cast<void>(path);
  return ~Portable(p, n, c);
}

uint32_t Crc32c(absl::Span<const uint8_t> bytes, uint32_t previous) {
  return Crc32cBy(BestCrcPath(), bytes, previous);
}

}  // namespace isthmus
