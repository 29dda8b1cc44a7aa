// Interleaved rANS (Duda, arXiv 1311.2540) over sets of small tables: many classes of symbols in
// one stream, each symbol coded by the table that both ends know it belongs to.
//
// Rows of `width` symbols; the symbol in column c belongs to state c mod N. Frequencies sum to
// 4096, states are 32 bits in [2^16, 2^32) and renormalise by 16-bit words. Layout: N final states
// (u32), then the words in the order in which the decoder reads them. The decoder ends with every
// state at 2^16: 16 bits of check a state for free.
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

inline constexpr uint32_t kRansScaleBits = 12;
inline constexpr uint32_t kRansScale = 1u << kRansScaleBits;
inline constexpr size_t kRansSymbols = 64;  // in a table
inline constexpr size_t kRansMaxStates = 32;

// States by frame size: each costs 4 bytes a frame and buys independent work for a superscalar core
// or a vector lane.
size_t RansStatesFor(size_t symbols);

// Frequencies of one table: at least 1 for each of the first `used` symbols, proportional to counts
// (any size below 2^40 together), summing to kRansScale. Integer arithmetic only.
void NormalizeCounts(absl::Span<const uint32_t> counts, size_t used, uint16_t* frequencies);

class RansTables {
 public:
  explicit RansTables(size_t tables);

  // frequencies[0 .. kRansSymbols) sum to kRansScale; 0 is a symbol that never comes.
  void Set(size_t table, const uint16_t* frequencies);

  size_t size() const { return ranges_.size() / kRansSymbols; }
  const uint8_t* symbols(size_t table) const { return symbols_.data() + table * kRansScale; }
  // start | frequency << 16
  const uint32_t* ranges(size_t table) const { return ranges_.data() + table * kRansSymbols; }

  // x / frequency as a multiplication: floor(x * reciprocal / 2^64) for every 32-bit x.
  struct EncodeEntry {
    uint64_t reciprocal;
    uint32_t bias;
    uint16_t complement;  // kRansScale - frequency
    uint16_t frequency;
  };
  const EncodeEntry* entries() const { return entries_.data(); }

 private:
  std::vector<uint8_t> symbols_;  // by slot
  std::vector<uint32_t> ranges_;
  std::vector<EncodeEntry> entries_;
};

// ops: table * kRansSymbols + symbol, row-major; appends to *out. `words` is scratch.
void RansEncode(const RansTables& tables, absl::Span<const uint16_t> ops, size_t width,
                size_t states, std::vector<uint16_t>* words, Bytes* out);

class RansDecoder {
 public:
  // False when the bytes cannot hold `states` states. The bytes outlive the decoder.
  bool Begin(absl::Span<const uint8_t> bytes, size_t states);

  // Symbols of columns [column, column + n) of a row, n <= 64; table_of[i] is the table of the
  // i-th. After the bytes' end the symbols are arbitrary, never out of a table.
  void Read(const RansTables& tables, const uint8_t* table_of, size_t column, size_t n,
            uint8_t* symbols);

  // True when everything was read and every state is where encoders begin.
  bool Finish() const;

 private:
  std::array<uint32_t, kRansMaxStates> state_{};
  size_t states_ = 0;
  const uint8_t* next_ = nullptr;
  const uint8_t* end_ = nullptr;
  bool overrun_ = false;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_RANS_H_
