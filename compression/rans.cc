#include "compression/rans.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace isthmus {
namespace {

bool Has(uint64_t used, size_t symbol) { return (used >> symbol & 1) != 0; }

// The symbol where one place more saves the most: count * log(1 + 1 / f), about count / (f + 1/2).
size_t MostInNeed(absl::Span<const uint32_t> counts, uint64_t used, const uint16_t* frequencies) {
  size_t best = kRansSymbols;
  for (size_t s = 0; s < counts.size() && s < kRansSymbols; ++s) {
    if (!Has(used, s)) continue;
    if (best == kRansSymbols || uint64_t{counts[s]} * (2u * frequencies[best] + 1) >
                                    uint64_t{counts[best]} * (2u * frequencies[s] + 1)) {
      best = s;
    }
  }
  return best;
}

// The symbol where one place less costs the least; all have one.
size_t LeastInNeed(absl::Span<const uint32_t> counts, uint64_t used, const uint16_t* frequencies) {
  size_t best = kRansSymbols;
  for (size_t s = 0; s < counts.size() && s < kRansSymbols; ++s) {
    if (!Has(used, s) || frequencies[s] < 2) continue;
    if (best == kRansSymbols || uint64_t{counts[s]} * (2u * frequencies[best] - 1) <
                                    uint64_t{counts[best]} * (2u * frequencies[s] - 1)) {
      best = s;
    }
  }
  return best;
}

}  // namespace

size_t RansStatesFor(size_t symbols) {
  if (symbols < 1024) return 1;
  if (symbols < 8192) return 4;
  if (symbols < 65536) return 8;
  if (symbols < 262144) return 16;
  return symbols < 524288 ? 32 : 64;
}

void NormalizeCounts(absl::Span<const uint32_t> counts, uint64_t used, uint16_t* frequencies) {
  ISTHMUS_CHECK(used != 0 && (used & ~RansFirst(counts.size())) == 0);
  std::fill(frequencies, frequencies + kRansSymbols, uint16_t{0});
  uint64_t total = 0;
  for (size_t s = 0; s < counts.size() && s < kRansSymbols; ++s)
    total += Has(used, s) ? counts[s] : 0;
  uint32_t given = 0;
  for (size_t s = 0; s < counts.size() && s < kRansSymbols; ++s) {
    if (!Has(used, s)) continue;
    const uint64_t share = total > 0 ? uint64_t{kRansScale} * counts[s] / total : 0;
    frequencies[s] = static_cast<uint16_t>(std::max<uint64_t>(share, 1));
    given += frequencies[s];
  }
  for (; given < kRansScale; ++given) ++frequencies[MostInNeed(counts, used, frequencies)];
  for (; given > kRansScale; --given) --frequencies[LeastInNeed(counts, used, frequencies)];
}

RansTables::RansTables(size_t tables) : slots_(tables * kRansScale), codes_(tables * kRansSymbols) {
  std::array<uint16_t, kRansSymbols> flat;
  flat.fill(kRansScale / kRansSymbols);
  for (size_t t = 0; t < tables; ++t) Set(t, flat.data());
}

void RansTables::Set(size_t table, const uint16_t* frequencies) {
  uint32_t* slots = slots_.data() + table * kRansScale;
  uint32_t start = 0;
  for (size_t s = 0; s < kRansSymbols; ++s) {
    const uint32_t frequency = frequencies[s];
    ISTHMUS_CHECK(frequency <= kRansScale - start);
    const float inverse = frequency > 0 ? 2.0f / static_cast<float>(frequency) : 0.0f;
    codes_[table * kRansSymbols + s] =
        start | frequency << 16 | uint64_t{std::bit_cast<uint32_t>(inverse)} << 32;
    const uint32_t entry = static_cast<uint32_t>(s) | frequency << 6;
    for (uint32_t place = 0; place < frequency; ++place) slots[start + place] = entry | place << 19;
    start += frequency;
  }
  ISTHMUS_CHECK(start == kRansScale);
}

bool RansDecoder::Begin(absl::Span<const uint8_t> bytes, size_t states) {
  at_.states = states;
  at_.overrun = false;
  if (bytes.size() < states * 4) return false;
  std::memcpy(at_.state.data(), bytes.data(), states * 4);
  at_.next = bytes.data() + states * 4;
  at_.end = bytes.data() + bytes.size();
  for (size_t i = 0; i < states; ++i) at_.overrun |= at_.state[i] < kRansLow;
  return !at_.overrun;
}

namespace {

// One symbol from a state whose word, if it needs one, is there; no branch, since whether it does
// is as good as random.
inline uint8_t ReadOne(const uint32_t* slots, uint32_t* state, const uint8_t** next) {
  uint32_t x = *state;
  const uint32_t entry = slots[x & (kRansScale - 1)];
  x = RansTables::Frequency(entry) * (x >> kRansScaleBits) + RansTables::Place(entry);
  uint16_t word;
  std::memcpy(&word, *next, 2);
  const uint32_t needs = x < kRansLow ? 1 : 0;
  *state = x << (16 * needs) | (word & (0u - needs));
  *next += 2 * needs;
  return static_cast<uint8_t>(RansTables::Symbol(entry));
}

}  // namespace

void RansDecoder::Read(const RansTables& tables, const uint8_t* table_of, size_t column, size_t n,
                       uint8_t* symbols) {
  const size_t mask = at_.states - 1;
  const uint32_t* const slots = tables.slots();
  const uint8_t* next = at_.next;
  if (static_cast<size_t>(at_.end - next) >= 2 * n) {
    for (size_t i = 0; i < n; ++i) {
      symbols[i] =
          ReadOne(slots + size_t{table_of[i]} * kRansScale, &at_.state[(column + i) & mask], &next);
    }
    at_.next = next;
    return;
  }
  static constexpr uint8_t kNothing[2] = {};
  for (size_t i = 0; i < n; ++i) {
    const bool left = at_.end - next >= 2;
    const uint8_t* from = left ? next : kNothing;
    const uint8_t* const before = from;
    symbols[i] =
        ReadOne(slots + size_t{table_of[i]} * kRansScale, &at_.state[(column + i) & mask], &from);
    if (from == before) continue;
    at_.overrun |= !left;
    if (left) next = from;
  }
  at_.next = next;
}

bool RansDecoder::Finish() const {
  bool clean = !at_.overrun && at_.next == at_.end;
  for (size_t i = 0; i < at_.states; ++i) clean = clean && at_.state[i] == kRansLow;
  return clean;
}

}  // namespace isthmus
