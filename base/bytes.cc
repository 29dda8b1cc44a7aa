#include "base/bytes.h"

#include "base/status.h"

namespace isthmus {

void ByteWriter::PutVarint(uint64_t value) {
  while (value >= 0x80) {
    out_->push_back(static_cast<uint8_t>(value) | 0x80);
    value >>= 7;
  }
  out_->push_back(static_cast<uint8_t>(value));
}

void ByteWriter::PutString(absl::string_view text) {
  PutVarint(text.size());
  out_->insert(out_->end(), text.begin(), text.end());
}

absl::StatusOr<absl::Span<const uint8_t>> ByteReader::GetBytes(uint64_t n) {
  if (remaining() < n) return Short(n);
  auto view = bytes_.subspan(at_, static_cast<size_t>(n));
  at_ += static_cast<size_t>(n);
  return view;
}

absl::StatusOr<uint64_t> ByteReader::GetVarint() {
  uint64_t value = 0;
  size_t at = at_;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at >= bytes_.size()) return Short(1);
    const uint8_t byte = bytes_[at++];
    if (shift == 63 && byte > 1) break;  // would overflow 64 bits
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) {
      at_ = at;
      return value;
    }
  }
  return InvalidArgument("varint: expected at most 64 bits, got more (byte ", at_, ")");
}

absl::StatusOr<std::string> ByteReader::GetString(uint64_t max_bytes) {
  const size_t start = at_;
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t n, GetVarint());
  if (n > max_bytes || n > remaining()) {
    at_ = start;
    return InvalidArgument("string: expected at most ",
                           std::min<uint64_t>(max_bytes, bytes_.size() - start), " bytes, got ", n,
                           " (byte ", start, ")");
  }
  std::string text(reinterpret_cast<const char*>(bytes_.data() + at_), static_cast<size_t>(n));
  at_ += static_cast<size_t>(n);
  return text;
}

absl::Status ByteReader::Short(uint64_t wanted) const {
  return InvalidArgument("bytes: expected ", wanted, " more, got ", remaining(), " (byte ", at_,
                         " of ", bytes_.size(), ")");
}

}  // namespace isthmus
