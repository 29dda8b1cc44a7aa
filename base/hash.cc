#include "base/hash.h"

#include <cstring>

namespace isthmus {

// Eight bytes a round through a multiply-rotate, the tail zero-padded, the length mixed in last:
// about 4 GB/s, enough for store hashes every few frames.
uint64_t Hash64(absl::Span<const uint8_t> bytes, uint64_t seed) {
  constexpr uint64_t kMultiplier = 0x9FB21C651E98DF25ull;
  uint64_t h = Mix64(seed ^ 0x27D4EB2F165667C5ull);
  const uint8_t* p = bytes.data();
  size_t n = bytes.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    h = (h ^ (v * kMultiplier)) * kMultiplier;
    h = (h << 29) | (h >> 35);
  }
  if (n > 0) {
    uint64_t v = 0;
    std::memcpy(&v, p, n);
    h = (h ^ (v * kMultiplier)) * kMultiplier;
  }
  return Mix64(h ^ bytes.size());
}

uint64_t Hash64(absl::string_view text, uint64_t seed) {
  return Hash64(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()),
                seed);
}

}  // namespace isthmus
