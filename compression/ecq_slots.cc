#include "compression/ecq_slots.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "compression/frame_check.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

constexpr uint32_t kMostVisits = 1u << 20;
constexpr size_t kNotSaved = SIZE_MAX;

}  // namespace

EcqSlots::EcqSlots(size_t capacity, size_t width) : capacity_(capacity), width_(width) {}

EcqSlots::Place EcqSlots::PlaceOf(uint32_t id) {
  const auto found = slot_of_.find(id);
  if (found != slot_of_.end()) return Take(false, found->second);
  const Place place = Take(true, 0);
  owners_[place.slot] = id;
  slot_of_[id] = place.slot;
  return place;
}

EcqSlots::Place EcqSlots::Take(bool fresh, uint32_t slot) {
  if (fresh) return {Give(), true, true};
  Touch(slot);
  return {slot, false, true};
}

void EcqSlots::Touch(uint32_t slot) {
  if (frame_of_use_[slot] != frame_) {  // once a frame: UndoTo never stops within one
    journal_.push_back({Undo::kUse, true, false, slot, 0, 0, stamps_[slot], kNotSaved});
    frame_of_use_[slot] = frame_;
  }
  stamps_[slot] = ++clock_;
}

uint32_t EcqSlots::Give() {
  if (used() < capacity_) {
    const uint32_t slot = static_cast<uint32_t>(used());
    journal_.push_back({Undo::kGive, false, false, slot, 0, 0, 0, kNotSaved});
    frame_of_save_.push_back(0);
    frame_of_use_.push_back(frame_);
    visits_.push_back(0);
    stamps_.push_back(++clock_);
    owners_.push_back(0);
    rows_.resize(used() * width_);
    return slot;
  }
  const auto oldest = std::min_element(stamps_.begin(), stamps_.end());
  const uint32_t slot = static_cast<uint32_t>(oldest - stamps_.begin());
  const uint32_t owner = owners_[slot];
  const bool owned = Forget(slot);
  journal_.push_back(
      {Undo::kGive, true, owned, slot, visits_[slot], owner, stamps_[slot], kNotSaved});
  visits_[slot] = 0;
  stamps_[slot] = ++clock_;
  return slot;
}

bool EcqSlots::Forget(uint32_t slot) {
  const auto found = slot_of_.find(owners_[slot]);
  if (found == slot_of_.end() || found->second != slot) return false;
  slot_of_.erase(found);
  return true;
}

void EcqSlots::Announce(absl::Span<Place> places) {
  announced_ = journal_.size();
  for (Place& place : places) {
    if (!place.named) continue;
    const uint32_t slot = place.slot;
    if (frame_of_save_[slot] != frame_) {  // once a frame: UndoTo never stops within one
      journal_.push_back({Undo::kLearn, true, false, slot, visits_[slot], 0, 0, saved_size_});
      saved_size_ += width_;
      frame_of_save_[slot] = frame_;
    }
    place.visits = visits_[slot];
    visits_[slot] = std::min(visits_[slot] + 1, kMostVisits);
  }
  Room(&saved_, saved_size_);
}

void EcqSlots::Save(size_t begin, size_t columns) {
  for (size_t i = announced_; i < journal_.size(); ++i) {
    float* row = mean(journal_[i].slot) + begin;
    std::memcpy(saved_.data() + journal_[i].row + begin, row, columns * sizeof(float));
    if (journal_[i].visits == 0) std::fill(row, row + columns, 0.0f);
  }
}

void EcqSlots::UndoTo(size_t mark) {
  while (journal_.size() > mark) {
    const Undo undo = journal_.back();
    journal_.pop_back();
    switch (undo.kind) {
      case Undo::kClock:
        clock_ = undo.stamp;
        break;
      case Undo::kUse:
        stamps_[undo.slot] = undo.stamp;
        break;
      case Undo::kGive:
        Forget(undo.slot);
        if (undo.was_used) {
          visits_[undo.slot] = undo.visits;
          stamps_[undo.slot] = undo.stamp;
          owners_[undo.slot] = undo.owner;
          if (undo.owned) slot_of_[undo.owner] = undo.slot;
        } else {
          visits_.pop_back();
          stamps_.pop_back();
          owners_.pop_back();
          frame_of_save_.pop_back();
          frame_of_use_.pop_back();
        }
        break;
      case Undo::kLearn:
        visits_[undo.slot] = undo.visits;
        std::memcpy(rows_.data() + undo.slot * width_, saved_.data() + undo.row,
                    width_ * sizeof(float));
        saved_size_ = undo.row;
        break;
    }
  }
  ++frame_;
  rows_.resize(used() * width_);
}

void EcqSlots::Commit() {
  journal_.clear();
  saved_size_ = 0;
  ++frame_;
}

void EcqSlots::Clear() {
  rows_.clear();
  visits_.clear();
  stamps_.clear();
  owners_.clear();
  frame_of_save_.clear();
  frame_of_use_.clear();
  slot_of_.clear();
  clock_ = 0;
  Commit();
}

// varint used | used x (varint visits, u64 stamp, u32 owner, mean) | u64 clock
void EcqSlots::Write(Bytes* out) const {
  ByteWriter writer(out);
  writer.PutVarint(used());
  for (size_t s = 0; s < used(); ++s) {
    const bool owned = slot_of_.count(owners_[s]) > 0 && slot_of_.at(owners_[s]) == s;
    writer.PutVarint(visits_[s]);
    writer.Put(stamps_[s]);
    writer.Put(static_cast<uint8_t>(owned));
    writer.Put(owners_[s]);
    writer.PutBytes({reinterpret_cast<const uint8_t*>(mean(static_cast<uint32_t>(s))), width_ * 4});
  }
  writer.Put(clock_);
}

bool EcqSlots::Read(ByteReader* in) {
  EcqSlots read(capacity_, width_);
  const auto used = in->GetVarint();
  if (!used.ok() || *used > capacity_ || *used > in->remaining() / (width_ * 4)) return false;
  read.rows_.resize(*used * width_);
  for (uint32_t s = 0; s < *used; ++s) {
    const auto visits = in->GetVarint();
    const auto stamp = in->Get<uint64_t>();
    const auto owned = in->Get<uint8_t>();
    const auto owner = in->Get<uint32_t>();
    const auto row = in->GetBytes(width_ * 4);
    if (!row.ok() || !owner.ok() || !owned.ok() || !stamp.ok() || !visits.ok() ||
        *visits > kMostVisits) {
      return false;
    }
    read.visits_.push_back(static_cast<uint32_t>(*visits));
    read.stamps_.push_back(*stamp);
    read.owners_.push_back(*owner);
    read.frame_of_save_.push_back(0);
    read.frame_of_use_.push_back(0);
    if (*owned != 0) read.slot_of_[*owner] = s;
    std::memcpy(read.rows_.data() + s * width_, row->data(), width_ * 4);
  }
  const auto clock = in->Get<uint64_t>();
  if (!clock.ok()) return false;
  for (const float v : read.rows_) {
    if ((std::bit_cast<uint32_t>(v) & 0x7FFFFFFFu) > kLargestMagnitude + 0x00800000u) return false;
  }
  read.clock_ = *clock;
  *this = std::move(read);
  return true;
}

uint64_t EcqSlots::Hash() const {
  uint64_t hash = Mix64(clock_ ^ used());
  for (size_t s = 0; s < used(); ++s) hash = Mix64(hash ^ visits_[s] ^ stamps_[s] << 20);
  return Hash64({reinterpret_cast<const uint8_t*>(rows_.data()), rows_.size() * sizeof(float)},
                hash);
}

int64_t EcqSlots::StateBytes() const { return StateBytesFor(used(), width_); }

int64_t EcqSlots::StateBytesFor(size_t capacity, size_t width) {
  // Row, visits, stamp, owner and a node of the id table.
  return static_cast<int64_t>(capacity * (width * sizeof(float) + 16 + 40));
}

}  // namespace isthmus
