// Interleaved rANS (Duda, arXiv 1311.2540) over sets of small tables: many classes of symbols in
// one stream, each symbol coded by the table that both ends know it belongs to.
//
// Rows of `width` symbols; the symbol in column c belongs to state c mod N. Frequencies sum to
// 2^12, states are 32 bits in [2^16, 2^32) and renormalise by 16-bit words. Layout: N final states
// (u32), then the words in the order in which the decoder reads them. The decoder ends with every
// state at 2^16: 16 bits of check a state for free.
//
// Consecutive columns are consecutive states whose words lie in that order, so a vector of any
// length codes what one symbol after the other does (rans_encoder.cc, ecq_row_codes.cc).
//
// A decoder trusts nothing: it never reads beyond its bytes, and Finish says whether they were what
// an encoder writes.
#ifndef ISTHMUS_COMPRESSION_RANS_H_
#define ISTHMUS_COMPRESSION_RANS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

// 16 KiB of decoding entries a table. 11 bits would be no faster and cost 0.005 bit: every symbol
// of a table has a place.
inline constexpr uint32_t kRansScaleBits = 12;
inline constexpr uint32_t kRansScale = 1u << kRansScaleBits;
inline constexpr uint32_t kRansLow = 1u << 16;  // states live in [kRansLow, 2^32)
inline constexpr size_t kRansSymbols = 64;      // in a table
inline constexpr size_t kRansMaxStates = 64;

// States by frame size: each costs 4 bytes a frame and buys independent work for a superscalar core
// or a vector lane.
size_t RansStatesFor(size_t symbols);

// The symbols 0 .. used - 1 of a table, as a set.
inline constexpr uint64_t RansFirst(size_t used) {
  return used < 64 ? (uint64_t{1} << used) - 1 : UINT64_MAX;
}

// Frequencies of one table: at least 1 for each symbol in the set `used`, proportional to counts
// (any size below 2^40 together), summing to kRansScale. Places left over by rounding go where they
// save the most. Integer arithmetic only.
void NormalizeCounts(absl::Span<const uint32_t> counts, uint64_t used, uint16_t* frequencies);

class RansTables {
 public:
  explicit RansTables(size_t tables);
  size_t size() const { return codes_.size() / kRansSymbols; }

  // frequencies[0 .. kRansSymbols) sum to kRansScale; 0 is a symbol that never comes.
  void Set(size_t table, const uint16_t* frequencies);

  uint32_t frequency(size_t table, size_t symbol) const {
    return codes_[table * kRansSymbols + symbol] >> 16 & 0xFFFFu;
  }

  // By table * kRansScale + slot: what a slot decodes to, symbol | frequency << 6 | (slot - start)
  // << 19.
  const uint32_t* slots() const { return slots_.data(); }
  static uint32_t Symbol(uint32_t entry) { return entry & 63; }
  static uint32_t Frequency(uint32_t entry) { return entry >> 6 & 0x1FFF; }
  static uint32_t Place(uint32_t entry) { return entry >> 19; }

  // By table * kRansSymbols + symbol: start | frequency << 16, and above it the bits of 2 /
  // frequency as fp32.
  const uint64_t* codes() const { return codes_.data(); }

 private:
  std::vector<uint32_t> slots_;
  std::vector<uint64_t> codes_;
};

// Codes from the end to the begin: rows are put from the last to the first.
class RansEncoder {
 public:
  // At most `symbols` will be put; `states` is a power of two up to kRansMaxStates.
  void Begin(size_t states, size_t symbols);
  // Rows of `width` ops before all that was put so far. An op is table * kRansSymbols + symbol, of
  // a symbol that has a frequency.
  void Put(const RansTables& tables, absl::Span<const uint16_t> ops, size_t width);
  // The same, one symbol at a time: what Put is tested against.
  void PutScalar(const RansTables& tables, absl::Span<const uint16_t> ops, size_t width);
  void Finish(Bytes* out) const;  // appends states and words
  size_t FinishedBytes() const { return states_ * 4 + static_cast<size_t>(last_ - next_) * 2; }

 private:
  alignas(64) std::array<uint32_t, kRansMaxStates> state_{};
  size_t states_ = 0;
  std::vector<uint16_t> words_;
  uint16_t* next_ = nullptr;  // the first word so far
  uint16_t* last_ = nullptr;  // beyond the last one
};

class RansDecoder {
 public:
  // False when the bytes cannot hold `states` states. The bytes outlive the decoder.
  bool Begin(absl::Span<const uint8_t> bytes, size_t states);

  // Symbols of columns [column, column + n) of a row; table_of[i] is the table of the i-th. After
  // the bytes' end the symbols are arbitrary, never out of a table.
  void Read(const RansTables& tables, const uint8_t* table_of, size_t column, size_t n,
            uint8_t* symbols);

  // True when everything was read and every state is where encoders begin.
  bool Finish() const;

  // For a vector of states at a time: what Read does, it does by itself.
  struct Cursor {
    alignas(64) std::array<uint32_t, kRansMaxStates> state{};
    size_t states = 0;
    const uint8_t* next = nullptr;
    const uint8_t* end = nullptr;
    bool overrun = false;
  };
  Cursor* cursor() { return &at_; }

 private:
  Cursor at_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_RANS_H_
