// Slot memory: per row id the running mean of the rows decoded under it, and how slot numbers
// travel. Both ends hold the same slots; which id has which slot is a private table of the sender,
// first come first served, least recently used out, unless both ends know the ids.
//
// All changes are journaled: UndoTo for a frame that fails, Rollback for a step.
#ifndef ISTHMUS_COMPRESSION_ECQ_SLOTS_H_
#define ISTHMUS_COMPRESSION_ECQ_SLOTS_H_

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

class EcqSlots {
 public:
  // At most `capacity` slots of `width` values (twice as many where a slot keeps a companion row).
  EcqSlots(size_t capacity, size_t width);

  struct Place {
    uint32_t slot = 0;
    bool fresh = false;   // it was given to a new id: what it held is forgotten
    bool named = false;   // there is a slot at all
    uint32_t visits = 0;  // before this row
  };

  size_t capacity() const { return capacity_; }
  size_t used() const { return visits_.size(); }

  // The sender, or both ends where both know the ids: the slot of an id, as of now.
  Place PlaceOf(uint32_t id);
  // The other end of a sender with private ids. A fresh place names no slot: the table does.
  Place Take(bool fresh, uint32_t slot);  // slot < used() unless fresh

  const float* mean(uint32_t slot) const { return rows_.data() + slot * width_; }
  float* mean(uint32_t slot) { return rows_.data() + slot * width_; }

  // The rows of a frame will be learned under these places, in this order: counts their visits.
  // Then Save, for every column once, and from several threads for different ones, keeps what
  // undoing needs; after it the means may be changed. A mean of no visits is zero.
  void Announce(absl::Span<Place> places);
  void Save(size_t begin, size_t columns);
  // The share of a row in its slot's mean: 1 / min(visits + 1, limit).
  static float ShareOf(uint32_t visits, uint32_t limit) {
    return 1.0f / static_cast<float>(visits < limit ? visits + 1 : limit);
  }

  // A mark is the beginning of a frame.
  size_t Mark() {
    ++frame_;
    journal_.push_back({Undo::kClock, false, false, 0, 0, 0, clock_, 0});
    return journal_.size() - 1;
  }
  void UndoTo(size_t mark);
  void Commit();
  void Rollback() { UndoTo(0); }
  void Clear();

  void Write(Bytes* out) const;
  bool Read(ByteReader* in);  // false for what Write does not write; unchanged then
  uint64_t Hash() const;      // of what both ends hold
  int64_t StateBytes() const;
  static int64_t StateBytesFor(size_t capacity, size_t width);

 private:
  struct Undo {
    enum Kind : uint8_t { kClock, kUse, kGive, kLearn } kind;
    bool was_used;  // kGive: before, the slot existed
    bool owned;     // … and had an id
    uint32_t slot;
    uint32_t visits;
    uint32_t owner;
    uint64_t stamp;  // kClock: what the clock said
    size_t row;      // kLearn: where its row was saved
  };

  uint32_t Give();  // the next free slot or the least recently used one
  void Touch(uint32_t slot);
  bool Forget(uint32_t slot);  // its id; whether it had one

  size_t capacity_, width_;
  std::vector<float> rows_;
  std::vector<uint32_t> visits_;
  std::vector<uint64_t> stamps_;  // of the last use
  uint64_t clock_ = 0;
  std::vector<uint32_t> owners_;  // ids; of no meaning where the ids are not known
  std::unordered_map<uint32_t, uint32_t> slot_of_;
  std::vector<Undo> journal_;
  size_t announced_ = 0;  // where in the journal
  std::vector<float> saved_;
  size_t saved_size_ = 0;  // of saved_, which stays as large as it was
  uint64_t frame_ = 1;
  std::vector<uint64_t> frame_of_save_, frame_of_use_;  // by slot
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_SLOTS_H_
