#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/atomic_file.h"
#include "base/done_reading.h"
#include "base/errno_status.h"
#include "base/mutex.h"
#include "base/status.h"

namespace isthmus {
namespace {

// Closes on every path out.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// Every MappedFile of this process, by its first byte: pages may be dropped there and nowhere else.
struct Maps {
  Mutex mutex;
  std::map<uintptr_t, size_t> sizes ISTHMUS_GUARDED_BY(mutex);
};
Maps& AllMaps() {
  static Maps* const maps = new Maps;  // never destroyed: a map may outlive static objects
  return *maps;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return FromErrno(path, "read the file");
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return FromErrno(path, "read the file");
  if (S_ISDIR(st.st_mode)) return InvalidArgument(path, ": expected a file, got a folder");
  if (st.st_size > max_bytes)
    return ResourceExhausted(path, ": expected at most ", max_bytes, " bytes, got ", st.st_size);
  std::string text(static_cast<size_t>(st.st_size), '\0');
  size_t at = 0;
  for (;;) {
    if (at == text.size()) {  // grows for files without a size (/dev/stdin, /proc)
      if (static_cast<int64_t>(at) >= max_bytes) break;
      text.resize(at + 65536);
    }
    const ssize_t n = ::read(fd.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FromErrno(path, "read the file");
    if (n == 0) break;
    at += static_cast<size_t>(n);
  }
  text.resize(at);
  return text;
}

absl::Status WriteFileAtomic(const std::string& path, absl::string_view bytes) {
  const std::string folder = std::filesystem::path(path).parent_path();
  ISTHMUS_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file,
                           AtomicFile::Create(folder.empty() ? "." : folder));
  ISTHMUS_RETURN_IF_ERROR(
      file->Append({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  return file->Commit(path);
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected to make the folder, got ", error.message()));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return FromErrno(path, "map the file");
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return FromErrno(path, "map the file");
  if (!S_ISREG(st.st_mode)) return InvalidArgument(path, ": expected a file, got something else");
  const size_t size = static_cast<size_t>(st.st_size);
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile(nullptr, 0));
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return FromErrno(path, "map the file");
  {
    MutexLock lock(&AllMaps().mutex);
    AllMaps().sizes[reinterpret_cast<uintptr_t>(data)] = size;
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(static_cast<const uint8_t*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  {
    MutexLock lock(&AllMaps().mutex);
    AllMaps().sizes.erase(reinterpret_cast<uintptr_t>(data_));
  }
  ::munmap(const_cast<uint8_t*>(data_), size_);
}

void DoneReading(absl::Span<const uint8_t> bytes) {
  // Whole pages only: the first and the last may belong to a neighbour.
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t begin = (first + page - 1) / page * page;
  const uintptr_t end = (first + bytes.size()) / page * page;
  if (begin >= end) return;
  Maps& maps = AllMaps();
  MutexLock lock(&maps.mutex);  // the map stays while its pages go
  auto it = maps.sizes.upper_bound(first);
  if (it == maps.sizes.begin()) return;
  --it;
  if (first + bytes.size() > it->first + it->second) return;
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace isthmus
