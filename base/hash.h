// 64-bit non-cryptographic hash, stable across machines and versions: it is on the wire and in
// checkpoints.
#ifndef ISTHMUS_BASE_HASH_H_
#define ISTHMUS_BASE_HASH_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace isthmus {

// Finaliser with full avalanche (the SplitMix64 constants).
inline uint64_t Mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9ull;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

uint64_t Hash64(absl::Span<const uint8_t> bytes, uint64_t seed = 0);
uint64_t Hash64(absl::string_view text, uint64_t seed = 0);

}  // namespace isthmus

#endif  // ISTHMUS_BASE_HASH_H_
