// Files: whole reads, atomic writes, memory maps. Errors name the path.
#ifndef ISTHMUS_BASE_FILE_H_
#define ISTHMUS_BASE_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace isthmus {

// kNotFound when it is not there; kResourceExhausted beyond `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes = int64_t{1} << 32);

// Writes a temporary file beside `path`, syncs it and renames: a reader sees the old bytes or the
// new ones, never a part.
absl::Status WriteFileAtomic(const std::string& path, absl::string_view bytes);

absl::Status MakeDirectories(const std::string& path);

// A read-only map of a whole file. Tensors that view it hold the shared_ptr.
class MappedFile {
 public:
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  absl::Span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  const uint8_t* data_;
  size_t size_;
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_FILE_H_
