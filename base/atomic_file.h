// A file that is written in pieces and is there at once.
#ifndef ISTHMUS_BASE_ATOMIC_FILE_H_
#define ISTHMUS_BASE_ATOMIC_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace isthmus {

// Pieces go to a temporary file in a folder. Commit syncs it and gives it its name; without Commit
// nothing is left. One thread.
class AtomicFile {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(const std::string& directory);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  absl::Status Append(absl::Span<const uint8_t> bytes);
  // Once, last. `path` is on the same file system as the folder.
  absl::Status Commit(const std::string& path);

 private:
  AtomicFile(int fd, std::string temporary) : fd_(fd), temporary_(std::move(temporary)) {}

  int fd_;
  std::string temporary_;  // empty once it has its name
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_ATOMIC_FILE_H_
