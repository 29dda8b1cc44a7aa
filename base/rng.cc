#include "base/rng.h"

#include <cmath>

#include "base/check.h"
#include "base/hash.h"

namespace isthmus {

std::array<uint32_t, 4> Philox(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  std::array<uint32_t, 4> c = {
      static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
      static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

uint64_t RandomKey(uint64_t seed, absl::string_view purpose, uint64_t a, uint64_t b, uint64_t c) {
  uint64_t h = Hash64(purpose, seed);
  h = Mix64(h ^ a);
  h = Mix64(h ^ b ^ 0x9E3779B97F4A7C15ull);
  return Mix64(h ^ c ^ 0xC2B2AE3D27D4EB4Full);
}

uint32_t CounterRng::Next32() {
  if (left_ == 0) {
    words_ = Philox(key_, counter_++);
    left_ = 4;
  }
  return words_[static_cast<size_t>(4 - left_--)];
}

uint64_t CounterRng::Next64() {
  const uint64_t high = Next32();
  return high << 32 | Next32();
}

double CounterRng::NextUniform() { return static_cast<double>(Next64() >> 11) * 0x1p-53; }

double CounterRng::NextNormal() {
  const double u = 1.0 - NextUniform();  // (0, 1]
  const double v = NextUniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
}

uint64_t CounterRng::NextBelow(uint64_t n) {
  ISTHMUS_CHECK(n > 0);
  const uint64_t limit =
      ~uint64_t{0} - (~uint64_t{0} % n + 1) % n;  // the largest multiple of n, minus one
  for (;;) {
    const uint64_t x = Next64();
    if (x <= limit) return x % n;
  }
}

}  // namespace isthmus
