// A table of widths per channel with a version: what the sender uses, and what the other end was
// told.
#ifndef ISTHMUS_COMPRESSION_WIDTH_TABLE_H_
#define ISTHMUS_COMPRESSION_WIDTH_TABLE_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "compression/bit_stream.h"
#include "compression/kernels.h"

namespace isthmus {

struct WidthTable {
  uint32_t version = 0;
  std::vector<uint8_t> bits;  // 1 to 8 each

  uint64_t Hash() const { return Hash64(bits, version); }

  // Whole widths from continuous ones: a width moves only when it is more than 0.6 off, so that a
  // gate between two widths does not send a new table at every step. True, with a new version, when
  // one moved.
  bool Follow(absl::Span<const double> wanted) {
    bool moved = false;
    for (size_t c = 0; c < bits.size(); ++c) {
      if (std::fabs(wanted[c] - bits[c]) <= 0.6) continue;
      bits[c] = static_cast<uint8_t>(std::lround(wanted[c]));
      moved = true;
    }
    version += moved;
    return moved;
  }

  // Three bits a channel, width - 1.
  size_t WireBytes() const { return PackedBytes(bits.size(), 3); }
  void WriteBits(Bytes* out) const {
    const size_t at = out->size();
    out->resize(at + WireBytes());
    BitPacker packer(out->data() + at);
    for (const uint8_t b : bits) {
      const uint8_t code = static_cast<uint8_t>(b - 1);
      packer.Append(&code, 1, 3);
    }
    packer.Flush();
  }
  // False when the bytes end early or a width is outside [min, max].
  bool ReadBits(ByteReader* in, int min, int max) {
    const auto packed = in->GetBytes(WireBytes());
    if (!packed.ok()) return false;
    UnpackBits(packed->data(), bits.size(), 3, bits.data());
    for (uint8_t& b : bits) {
      ++b;
      if (b < min || b > max) return false;
    }
    return true;
  }
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_WIDTH_TABLE_H_
