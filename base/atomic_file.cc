#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "base/errno_status.h"
#include "base/status.h"

namespace isthmus {

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& directory) {
  static std::atomic<uint64_t> number = 0;
  std::string temporary = absl::StrCat(directory, "/.tmp.", ::getpid(), ".", ++number);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return FromErrno(directory, "write a file in the folder");
  return std::unique_ptr<AtomicFile>(new AtomicFile(fd, std::move(temporary)));
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

absl::Status AtomicFile::Append(absl::Span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FromErrno(temporary_, "write the file");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit(const std::string& path) {
  if (::fsync(fd_) != 0) return FromErrno(path, "sync the file");
  if (::rename(temporary_.c_str(), path.c_str()) != 0) return FromErrno(path, "rename the file");
  temporary_.clear();
  return absl::OkStatus();
}

}  // namespace isthmus
