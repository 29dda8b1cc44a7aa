// Entropy-codes a matrix of small unsigned numbers with tables of its own: rANS (rans.h) over up to
// 64 symbols. Numbers below 32 are their own symbols; a larger one is the symbol of its power of
// two and raw bits. Where both ends know a class of every number, each class has a table.
//
//   [u8 set of the classes that occur] | per table: varint K | K varint frequencies, sum 4096
//   varint rANS bytes | rANS | raw bits, one stream
#ifndef ISTHMUS_COMPRESSION_SYMBOL_CODER_H_
#define ISTHMUS_COMPRESSION_SYMBOL_CODER_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"
#include "compression/rans.h"

namespace isthmus {

inline uint32_t ZigZag(int32_t v) {
  return static_cast<uint32_t>(v) << 1 ^ static_cast<uint32_t>(v >> 31);
}
inline int32_t UnZigZag(uint32_t v) {
  return static_cast<int32_t>(v >> 1) ^ -static_cast<int32_t>(v & 1);
}

class SymbolCoder {
 public:
  static constexpr size_t kMostClasses = 8;

  SymbolCoder() : tables_(1) {}

  // Appends values (rows x width, at least one, each below 2^31); `classes` as many, below
  // kMostClasses, or null. Returns how many bytes are codes: the rest is tables.
  int64_t Encode(const uint32_t* values, const uint8_t* classes, size_t rows, size_t width,
                 Bytes* out);
  // False for bytes that are none.
  bool Decode(ByteReader* in, const uint8_t* classes, size_t rows, size_t width, uint32_t* values);
  // The same where the class of a number follows from those before it: next(value) gives the next
  // one's, the first is of class 0. A number at a time.
  template <typename Next>
  bool DecodeInOrder(ByteReader* in, size_t rows, size_t width, uint32_t* values, const Next& next);

  // The symbol of a number, and the raw bits beside it.
  static uint16_t SymbolOf(uint32_t value) {
    if (value < kDirect) return static_cast<uint16_t>(value);
    return static_cast<uint16_t>(kDirect +
                                 static_cast<uint32_t>(std::bit_width(value) - 1 - kFirstExponent));
  }
  static int RawBits(uint32_t symbol) {
    return symbol < kDirect ? 0 : static_cast<int>(symbol - kDirect) + kFirstExponent;
  }

 private:
  static constexpr uint32_t kDirect = 32;   // numbers below are symbols
  static constexpr int kFirstExponent = 5;  // of the first number that is not
  static constexpr size_t kMostSymbols = kDirect + 31 - kFirstExponent;

  // One raw number of so many bits; false beyond the end.
  struct RawStream {
    absl::Span<const uint8_t> bytes;
    size_t at = 0;
    uint64_t word = 0;
    int fill = 0;
    bool Get(int bits, uint32_t* value);
  };
  // Tables and rANS bytes; *set: the classes that occur.
  bool BeginInOrder(ByteReader* in, size_t n, uint32_t* set, RansDecoder* decoder, RawStream* raw);

  void MakeTables(const uint32_t* counts, bool classes, Bytes* out);
  bool ReadTables(ByteReader* in, uint32_t needed);
  bool ReadFrequencies(ByteReader* in, size_t table);

  RansTables tables_;
  RansEncoder rans_;
  std::vector<uint16_t> ops_;
  std::vector<uint8_t> symbols_;
  Bytes coded_, raw_;
};

template <typename Next>
bool SymbolCoder::DecodeInOrder(ByteReader* in, size_t rows, size_t width, uint32_t* values,
                                const Next& next) {
  RansDecoder decoder;
  RawStream raw;
  uint32_t set = 0;
  if (!BeginInOrder(in, rows * width, &set, &decoder, &raw)) return false;
  uint8_t of = 0, symbol = 0;
  for (size_t i = 0; i < rows * width; ++i) {
    if ((set >> of & 1) == 0) return false;
    decoder.Read(tables_, &of, i % width, 1, &symbol);
    values[i] = symbol;
    if (const int bits = RawBits(symbol); bits > 0) {
      if (!raw.Get(bits, &values[i])) return false;
      values[i] |= 1u << bits;
    }
    of = next(values[i]);
  }
  return decoder.Finish() && in->GetBytes(raw.at).ok();
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SYMBOL_CODER_H_
