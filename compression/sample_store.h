// The message store of AQ-SGD (Wang et al., NeurIPS 2022): per sample the values both ends hold,
// with a version, an order of use for eviction, and a journal back to the last step boundary.
//
// Both ends call the same Put sequence, so they evict the same rows. Order of use is the order of
// Put; reading does not count.
#ifndef ISTHMUS_COMPRESSION_SAMPLE_STORE_H_
#define ISTHMUS_COMPRESSION_SAMPLE_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/bytes.h"
#include "compression/slot_memory.h"
#include "compression/store_row.h"

namespace isthmus {

class SampleStore {
 public:
  struct Row {
    uint32_t tokens = 0;
    uint32_t version = 0;  // visits since the key frame that began the row
    absl::Span<const uint8_t> bytes;
  };

  // At most `max_rows` rows (0: no bound; only over MakeRamSlots).
  SampleStore(std::unique_ptr<SlotMemory> memory, size_t max_rows)
      : memory_(std::move(memory)), max_rows_(max_rows) {}

  // False when the sample has no row. The bytes are valid until the next change.
  bool Find(uint64_t sample, Row* row) const;
  // Sets the sample's row to a copy of row.bytes; the least recently put row leaves when the store
  // is full.
  void Put(uint64_t sample, const Row& row);
  // Forgets everything, the journal included: a boundary of its own.
  void Clear();

  void Commit();
  void Rollback() { UndoTo(0); }
  // For a frame that fails half way: UndoTo(JournalMark() taken before).
  size_t JournalMark() const { return journal_.size(); }
  void UndoTo(size_t mark);

  // At a step boundary. Rows beyond 2 GiB together are left out, at both ends alike: such a store
  // starts cold after a restart.
  void Snapshot(Bytes* out) const;
  // All or nothing: kInvalidArgument for rows that `format` cannot have written or longer than
  // `max_tokens`.
  absl::Status Restore(ByteReader* in, const StoreRowFormat& format, uint64_t max_tokens);
  // The same in two steps, for what is restored with others or not at all. Rows point into `in`.
  struct Found {
    uint64_t sample;
    Row row;
  };
  absl::StatusOr<std::vector<Found>> ParseSnapshot(ByteReader* in, const StoreRowFormat& format,
                                                   uint64_t max_tokens) const;
  void Apply(const std::vector<Found>& found);
  // Puts all rows into *to, least recently put first.
  void PutInto(SampleStore* to) const;

  uint64_t Hash() const;       // over rows in order of use
  int64_t StateBytes() const;  // rows and their bookkeeping
  size_t size() const { return rows_.size(); }

  // What one row costs beside its values: map nodes, order of use, slot.
  static constexpr int64_t kRowOverheadBytes = 160;

 private:
  struct Held {
    uint32_t tokens = 0;
    uint32_t version = 0;
    size_t slot = 0;
    size_t bytes = 0;
    uint64_t used = 0;
  };
  struct Undo {
    uint64_t sample;
    bool existed;
    Held held;  // its slot is free again
    uint64_t next_use;
    Bytes bytes;
  };

  void Remember(uint64_t sample);
  void Replace(Held* held, const Row& row);
  void Insert(uint64_t sample, const Held& held, absl::Span<const uint8_t> bytes);
  void Remove(uint64_t sample);
  absl::Span<const uint8_t> BytesOf(const Held& held) const {
    return {memory_->Slot(held.slot, held.bytes), held.bytes};
  }

  std::unique_ptr<SlotMemory> memory_;
  size_t max_rows_;
  std::unordered_map<uint64_t, Held> rows_;
  std::map<uint64_t, uint64_t> by_use_;  // order of use -> sample
  std::vector<size_t> free_slots_;
  size_t next_slot_ = 0;
  uint64_t next_use_ = 0;
  int64_t held_bytes_ = 0;
  std::vector<Undo> journal_;
  std::vector<Bytes> spare_;  // buffers of the last step's journal, to use again
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SAMPLE_STORE_H_
