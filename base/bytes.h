// Little-endian byte writer and bounds-checked reader. Every parser of outside bytes in this
// project reads through ByteReader.
#ifndef ISTHMUS_BASE_BYTES_H_
#define ISTHMUS_BASE_BYTES_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace isthmus {

static_assert(std::endian::native == std::endian::little, "big-endian hosts are not supported");

using Bytes = std::vector<uint8_t>;

// Appends to a byte vector that the caller owns.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes* out) : out_(out) {}

  template <typename T>
  void Put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* p = reinterpret_cast<const uint8_t*>(&value);
    out_->insert(out_->end(), p, p + sizeof(T));
  }
  void PutBytes(absl::Span<const uint8_t> bytes) {
    out_->insert(out_->end(), bytes.begin(), bytes.end());
  }
  void PutVarint(uint64_t value);          // LEB128, 1 to 10 bytes
  void PutString(absl::string_view text);  // varint length, bytes
  size_t size() const { return out_->size(); }

 private:
  Bytes* out_;
};

// Reads from bytes that outlive it. Every call checks the bound; after a failure the position is
// unchanged.
class ByteReader {
 public:
  explicit ByteReader(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}

  size_t remaining() const { return bytes_.size() - at_; }
  size_t position() const { return at_; }

  template <typename T>
  absl::StatusOr<T> Get() {
    static_assert(std::is_trivially_copyable_v<T>);
    if (remaining() < sizeof(T)) return Short(sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  absl::StatusOr<absl::Span<const uint8_t>> GetBytes(uint64_t n);  // a view
  absl::StatusOr<uint64_t> GetVarint();
  absl::StatusOr<std::string> GetString(uint64_t max_bytes);

 private:
  absl::Status Short(uint64_t wanted) const;

  absl::Span<const uint8_t> bytes_;
  size_t at_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_BYTES_H_
