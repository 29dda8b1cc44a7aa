// Counter-based random numbers: a pure function of (key, counter). Nothing in this project draws
// from a shared stream, so a re-run, a retry and another placement see the same numbers.
// Philox4x32-10 (Salmon et al., SC 2011).
#ifndef ISTHMUS_BASE_RNG_H_
#define ISTHMUS_BASE_RNG_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace isthmus {

// Four independent 32-bit words for `counter` under `key`.
std::array<uint32_t, 4> Philox(uint64_t key, uint64_t counter_low, uint64_t counter_high = 0);

// A key made of a seed, a purpose ("lora.A", "dither") and further numbers (step, sample, layer …).
// Order matters.
uint64_t RandomKey(uint64_t seed, absl::string_view purpose, uint64_t a = 0, uint64_t b = 0,
                   uint64_t c = 0);

// Uniform in [0, 1) with 24 bits: exact in float.
inline float UniformFloat(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// A sequence over one key, for places that want "the next number" (shuffling, initialisation).
// Deterministic on every machine.
class CounterRng {
 public:
  explicit CounterRng(uint64_t key) : key_(key) {}
  uint32_t Next32();
  uint64_t Next64();
  double NextUniform();  // [0, 1) with 53 bits
  double NextNormal();   // Box-Muller; libm, so only for values that are not compared across
                         // machines bit for bit
  uint64_t NextBelow(uint64_t n);  // [0, n), unbiased; n > 0

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
  std::array<uint32_t, 4> words_{};
  int left_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_RNG_H_
