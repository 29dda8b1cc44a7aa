// Equal slots of bytes for the rows of a message store: in RAM, each made at its first use, or in a
// file that is mapped.
#ifndef ISTHMUS_COMPRESSION_SLOT_MEMORY_H_
#define ISTHMUS_COMPRESSION_SLOT_MEMORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace isthmus {

class SlotMemory {
 public:
  virtual ~SlotMemory() = default;
  // At least `bytes` writable bytes that stay where they are; slot numbers are dense from 0.
  virtual uint8_t* Slot(size_t slot, size_t bytes) = 0;
};

// Slots of any size, one allocation each.
std::unique_ptr<SlotMemory> MakeRamSlots();

// `slots` x `slot_bytes` in a file under `folder` whose space is reserved now and whose name is
// removed at once: it ends with the process, however that ends. kResourceExhausted when the disk
// has no room.
absl::StatusOr<std::unique_ptr<SlotMemory>> MakeMappedSlots(const std::string& folder, size_t slots,
                                                            size_t slot_bytes);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SLOT_MEMORY_H_
