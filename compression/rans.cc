#include "compression/rans.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace isthmus {
namespace {

constexpr uint32_t kLow = 1u << 16;  // states live in [kLow, 2^32)

RansTables::EncodeEntry EntryFor(uint32_t start, uint32_t frequency) {
  RansTables::EncodeEntry entry{};
  entry.frequency = static_cast<uint16_t>(frequency);
  if (frequency == 0) return entry;
  entry.complement = static_cast<uint16_t>(kRansScale - frequency);
  if (frequency == 1) {
    // 2^64 does not fit: with 2^64 - 1 the quotient is x - 1, and the bias makes up for it.
    entry.reciprocal = UINT64_MAX;
    entry.bias = start + kRansScale - 1;
  } else {
    // ceil(2^64 / f): x * (2^64 / f + e) with e < 1 exceeds x / f by less than 2^-32 < 1 / f.
    entry.reciprocal = UINT64_MAX / frequency + 1;
    entry.bias = start;
  }
  return entry;
}

}  // namespace

size_t RansStatesFor(size_t symbols) {
  if (symbols < 1024) return 1;
  if (symbols < 8192) return 4;
  return symbols < 262144 ? 8 : 32;
}

void NormalizeCounts(absl::Span<const uint32_t> counts, size_t used, uint16_t* frequencies) {
  ISTHMUS_CHECK(used > 0 && used <= counts.size() && used <= kRansSymbols);
  uint64_t total = 0;
  for (size_t s = 0; s < used; ++s) total += counts[s];
  std::fill(frequencies, frequencies + kRansSymbols, uint16_t{0});
  const uint64_t free = kRansScale - used;
  uint32_t given = 0;
  size_t largest = 0;
  for (size_t s = 0; s < used; ++s) {
    const uint64_t share = total > 0 ? free * counts[s] / total : 0;
    frequencies[s] = static_cast<uint16_t>(1 + share);
    given += frequencies[s];
    if (counts[s] > counts[largest]) largest = s;
  }
  frequencies[largest] = static_cast<uint16_t>(frequencies[largest] + (kRansScale - given));
}

RansTables::RansTables(size_t tables)
    : symbols_(tables * kRansScale),
      ranges_(tables * kRansSymbols),
      entries_(tables * kRansSymbols) {
  std::array<uint16_t, kRansSymbols> flat;
  flat.fill(kRansScale / kRansSymbols);
  for (size_t t = 0; t < tables; ++t) Set(t, flat.data());
}

void RansTables::Set(size_t table, const uint16_t* frequencies) {
  uint8_t* symbols = symbols_.data() + table * kRansScale;
  uint32_t start = 0;
  for (size_t s = 0; s < kRansSymbols; ++s) {
    const uint32_t frequency = frequencies[s];
    ISTHMUS_CHECK(frequency <= kRansScale - start);
    const size_t at = table * kRansSymbols + s;
    ranges_[at] = start | frequency << 16;
    entries_[at] = EntryFor(start, frequency);
    std::memset(symbols + start, static_cast<int>(s), frequency);
    start += frequency;
  }
  ISTHMUS_CHECK(start == kRansScale);
}

void RansEncode(const RansTables& tables, absl::Span<const uint16_t> ops, size_t width,
                size_t states, std::vector<uint16_t>* words, Bytes* out) {
  // A symbol of frequency f = 1 adds 12 bits: never more than a word a symbol.
  if (words->size() < ops.size()) words->resize(ops.size());
  uint16_t* const last = words->data() + ops.size();
  uint16_t* next = last;
  std::array<uint32_t, kRansMaxStates> x;
  x.fill(kLow);
  const RansTables::EncodeEntry* const entries = tables.entries();
  const size_t mask = states - 1;
  ISTHMUS_CHECK(states > 0 && states <= kRansMaxStates && (states & mask) == 0);
  for (size_t row_end = ops.size(); row_end > 0; row_end -= width) {
    const uint16_t* row = ops.data() + (row_end - width);
    for (size_t c = width; c-- > 0;) {
      const RansTables::EncodeEntry& entry = entries[row[c]];
      uint32_t v = x[c & mask];
      if (v >= static_cast<uint64_t>(entry.frequency) << 20) {
        *--next = static_cast<uint16_t>(v);
        v >>= 16;
      }
      const uint32_t quotient =
          static_cast<uint32_t>((static_cast<unsigned __int128>(v) * entry.reciprocal) >> 64);
      x[c & mask] = v + entry.bias + quotient * entry.complement;
    }
  }
  const size_t at = out->size(), word_bytes = static_cast<size_t>(last - next) * 2;
  out->resize(at + states * 4 + word_bytes);
  std::memcpy(out->data() + at, x.data(), states * 4);
  if (word_bytes > 0) std::memcpy(out->data() + at + states * 4, next, word_bytes);
}

bool RansDecoder::Begin(absl::Span<const uint8_t> bytes, size_t states) {
  states_ = states;
  overrun_ = false;
  if (bytes.size() < states * 4) return false;
  std::memcpy(state_.data(), bytes.data(), states * 4);
  next_ = bytes.data() + states * 4;
  end_ = bytes.data() + bytes.size();
  for (size_t i = 0; i < states; ++i) overrun_ |= state_[i] < kLow;
  return !overrun_;
}

void RansDecoder::Read(const RansTables& tables, const uint8_t* table_of, size_t column, size_t n,
                       uint8_t* symbols) {
  const size_t mask = states_ - 1;
  const uint8_t* const all_symbols = tables.symbols(0);
  const uint32_t* const all_ranges = tables.ranges(0);
  const uint8_t* next = next_;
  const uint8_t* const end = end_;
  for (size_t i = 0; i < n; ++i) {
    const size_t table = table_of[i];
    uint32_t x = state_[(column + i) & mask];
    const uint32_t slot = x & (kRansScale - 1);
    const uint8_t symbol = all_symbols[table * kRansScale + slot];
    const uint32_t range = all_ranges[table * kRansSymbols + symbol];
    x = (range >> 16) * (x >> kRansScaleBits) + slot - (range & 0xFFFFu);
    if (x < kLow) {
      uint16_t word = 0;
      if (end - next >= 2) {
        std::memcpy(&word, next, 2);
        next += 2;
      } else {
        overrun_ = true;
      }
      x = x << 16 | word;
    }
    state_[(column + i) & mask] = x;
    symbols[i] = symbol;
  }
  next_ = next;
}

bool RansDecoder::Finish() const {
  bool clean = !overrun_ && next_ == end_;
  for (size_t i = 0; i < states_; ++i) clean = clean && state_[i] == kLow;
  return clean;
}

}  // namespace isthmus
