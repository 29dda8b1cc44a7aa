// Codes that a table alone does not hold: beyond its largest, or of a class with low bits. The
// table codes an escape or the high part, the rest goes beside the coder.
#ifndef ISTHMUS_COMPRESSION_ECQ_RAW_CODES_H_
#define ISTHMUS_COMPRESSION_ECQ_RAW_CODES_H_

#include <cstdint>
#include <cstdlib>

#include "compression/ecq_raw_bits.h"
#include "compression/ecq_tables.h"

namespace isthmus {

inline constexpr int kEcqGolombOrder = 1;

// Whether EcqPutFarCode has something to say about a code.
inline bool EcqIsFar(int cls, int32_t q) {
  return cls >= kEcqPlainClasses || std::abs(q) > EcqLargestPlain(static_cast<size_t>(cls));
}

// Writes what goes beside the coder and returns the symbol.
inline int EcqPutFarCode(int cls, int32_t q, RawBitWriter* raw) {
  const int low = EcqLowBits(cls), high = EcqHighPart(cls, q);
  const int largest = EcqLargestPlain(static_cast<size_t>(EcqTableOf(cls)));
  const int symbol = EcqSymbolOf(cls, q);
  if (symbol == kEcqEscape) {
    raw->Put(high < 0 ? 1 : 0, 1);
    raw->PutGolomb(static_cast<uint32_t>(std::abs(high) - largest - 1), kEcqGolombOrder);
  }
  const int32_t half = low > 0 ? 1 << (low - 1) : 0;
  if (low > 0) raw->Put(static_cast<uint32_t>(q + half - high * (1 << low)), low);
  return symbol;
}

// The code behind a symbol; false when it is out of range.
inline bool EcqReadFarCode(int cls, int symbol, RawBitReader* raw, int32_t* q) {
  const int largest = EcqLargestPlain(static_cast<size_t>(EcqTableOf(cls)));
  const int low = EcqLowBits(cls);
  int64_t code = symbol - kEcqZero;
  if (symbol == kEcqEscape) {
    const bool negative = raw->Get(1) != 0;
    const uint32_t beyond = raw->GetGolomb(kEcqGolombOrder);
    if (beyond > static_cast<uint32_t>(kEcqLargestCode)) return false;
    code = largest + 1 + static_cast<int64_t>(beyond);
    if (negative) code = -code;
  }
  if (low > 0) code = code * (int64_t{1} << low) + raw->Get(low) - (int64_t{1} << (low - 1));
  *q = static_cast<int32_t>(code);
  return code <= kEcqLargestCode && code >= -kEcqLargestCode;
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_RAW_CODES_H_
