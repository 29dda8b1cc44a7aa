// Entropy-codes a matrix of small unsigned numbers with tables of its own: rANS (rans.h) over up to
// 64 symbols. Numbers below 32 are their own symbols; a larger one is the symbol of its power of
// two and raw bits. Where both ends know a class of every number, each class has a table.
//
//   [u8 set of the classes that occur] | per table: varint K | K varint frequencies, sum 4096
//   varint rANS bytes | rANS | raw bits, one stream
#ifndef ISTHMUS_COMPRESSION_SYMBOL_CODER_H_
#define ISTHMUS_COMPRESSION_SYMBOL_CODER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

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

 private:
  void MakeTables(const uint32_t* counts, bool classes, Bytes* out);
  bool ReadTables(ByteReader* in, uint32_t needed);
  bool ReadFrequencies(ByteReader* in, size_t table);

  RansTables tables_;
  RansEncoder rans_;
  std::vector<uint16_t> ops_;
  std::vector<uint8_t> symbols_;
  Bytes coded_, raw_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SYMBOL_CODER_H_
