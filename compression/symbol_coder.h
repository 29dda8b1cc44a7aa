// Entropy-codes a matrix of small unsigned numbers with one table of its own: rANS (rans.h) over up
// to 64 symbols. Numbers below 32 are their own symbols; a larger one is the symbol of its power of
// two and raw bits.
//
//   varint K | K varint frequencies, sum 4096 | varint rANS bytes | rANS | raw bits, one stream
#ifndef ISTHMUS_COMPRESSION_SYMBOL_CODER_H_
#define ISTHMUS_COMPRESSION_SYMBOL_CODER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "compression/rans.h"

namespace isthmus {

class SymbolCoder {
 public:
  SymbolCoder() : tables_(1) {}

  // Appends values (rows x width, each below 2^31). Returns how many bytes are codes: the rest is
  // the table.
  int64_t Encode(const uint32_t* values, size_t rows, size_t width, Bytes* out);
  // False for bytes that are none.
  bool Decode(ByteReader* in, size_t rows, size_t width, uint32_t* values);

 private:
  bool ReadFrequencies(ByteReader* in);

  RansTables tables_;
  RansEncoder rans_;
  std::vector<uint16_t> ops_;
  std::vector<uint8_t> symbols_;
  Bytes coded_, raw_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SYMBOL_CODER_H_
