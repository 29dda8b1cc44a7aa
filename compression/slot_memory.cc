#include "compression/slot_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/file.h"
#include "base/status.h"

namespace isthmus {
namespace {

class RamSlots final : public SlotMemory {
 public:
  uint8_t* Slot(size_t slot, size_t bytes) override {
    if (slots_.size() <= slot) slots_.resize(slot + 1);
    if (slots_[slot].size() < bytes) slots_[slot].resize(bytes);
    return slots_[slot].data();
  }

 private:
  std::vector<std::vector<uint8_t>> slots_;
};

class MappedSlots final : public SlotMemory {
 public:
  MappedSlots(uint8_t* begin, size_t slots, size_t slot_bytes)
      : begin_(begin), slots_(slots), slot_bytes_(slot_bytes) {}
  ~MappedSlots() override { ::munmap(begin_, slots_ * slot_bytes_); }

  uint8_t* Slot(size_t slot, size_t bytes) override {
    ISTHMUS_CHECK(slot < slots_ && bytes <= slot_bytes_);
    return begin_ + slot * slot_bytes_;
  }

 private:
  uint8_t* begin_;
  size_t slots_;
  size_t slot_bytes_;
};

absl::Status StoreFileError(const std::string& folder, size_t bytes, int error) {
  const std::string text = absl::StrCat("message store: expected room for ", bytes, " bytes, got ",
                                        std::strerror(error), " (", folder, ")");
  return error == ENOSPC || error == EFBIG || error == ENOMEM ? absl::ResourceExhaustedError(text)
                                                              : absl::InvalidArgumentError(text);
}

}  // namespace

std::unique_ptr<SlotMemory> MakeRamSlots() { return std::make_unique<RamSlots>(); }

absl::StatusOr<std::unique_ptr<SlotMemory>> MakeMappedSlots(const std::string& folder, size_t slots,
                                                            size_t slot_bytes) {
  ISTHMUS_CHECK(slots > 0 && slot_bytes > 0);
  const size_t bytes = slots * slot_bytes;
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(folder));
  std::string path = folder + "/message-store-XXXXXX";
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return StoreFileError(folder, bytes, errno);
  ::unlink(path.c_str());
  // Reserved, not sparse: a full disk is an error here and not a SIGBUS in the middle of a step.
  const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  void* begin =
      error == 0 ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  const int map_error = error != 0 ? error : errno;
  ::close(fd);
  if (begin == MAP_FAILED) return StoreFileError(folder, bytes, map_error);
  return std::make_unique<MappedSlots>(static_cast<uint8_t*>(begin), slots, slot_bytes);
}

}  // namespace isthmus
