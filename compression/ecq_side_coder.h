// The slow and small part of an ecq frame: slot numbers, modes and weights, coded one at a time by
// counts that adapt after every symbol. Byte-wise rANS with a 48-bit state, so that ranges may be
// as fine as 2^-24; a stream costs 6 bytes beside its information and ends where its state is at
// 2^40 again.
#ifndef ISTHMUS_COMPRESSION_ECQ_SIDE_CODER_H_
#define ISTHMUS_COMPRESSION_ECQ_SIDE_CODER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

// Counts over n symbols in a Fenwick tree. Every Bump adds `increment`; beyond `limit` all counts
// are halved, so the past fades. A symbol of count 0 cannot be coded.
class AdaptiveCounts {
 public:
  AdaptiveCounts(size_t n, uint32_t increment, uint32_t limit);

  size_t size() const { return n_; }
  uint32_t Count(size_t symbol) const;
  void Add(size_t symbol, int64_t delta);  // the count stays at 0 or above
  void Bump(size_t symbol);

  // The range [start, start + size) of 2^24 that stands for the symbol.
  struct Range {
    uint32_t start;
    uint32_t size;
  };
  Range RangeOf(size_t symbol) const;
  size_t SymbolAt(uint32_t place) const;  // place < 2^24

  void Write(Bytes* out) const;
  bool Read(ByteReader* in);  // false for what Write does not write; unchanged then

 private:
  uint64_t Below(size_t symbol) const;

  size_t n_;
  uint32_t increment_, limit_;
  uint64_t total_ = 0;
  std::vector<uint32_t> tree_;  // one-based
};

class SideEncoder {
 public:
  void Clear() { ranges_.clear(); }
  // Codes the symbol by the counts as they are and bumps it.
  void Put(AdaptiveCounts* counts, size_t symbol);
  void PutRange(AdaptiveCounts::Range range) { ranges_.push_back(range); }
  void Finish(Bytes* out);  // appends the stream
  double Bits() const;      // of what was put, about

 private:
  std::vector<AdaptiveCounts::Range> ranges_;
  Bytes reversed_;
};

class SideDecoder {
 public:
  bool Begin(absl::Span<const uint8_t> bytes);
  size_t Get(AdaptiveCounts* counts);
  uint32_t Place() const { return static_cast<uint32_t>(state_ & 0xFFFFFFu); }
  void Take(AdaptiveCounts::Range range);
  // Whether the stream ended as an encoder ends it; *used is its size.
  bool Finish(size_t* used) const;

 private:
  absl::Span<const uint8_t> bytes_;
  size_t at_ = 0;
  uint64_t state_ = 0;
  bool overrun_ = false;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_SIDE_CODER_H_
