#include "compression/sample_store.h"

#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr int64_t kLargestSnapshot = int64_t{2} << 30;

}  // namespace

bool SampleStore::Find(uint64_t sample, Row* row) const {
  const auto found = rows_.find(sample);
  if (found == rows_.end()) return false;
  *row = {found->second.tokens, found->second.version, BytesOf(found->second)};
  return true;
}

void SampleStore::Put(uint64_t sample, const Row& row) {
  if (max_rows_ > 0 && rows_.size() == max_rows_ && rows_.count(sample) == 0) {
    const uint64_t oldest = by_use_.begin()->second;
    Remember(oldest);
    Remove(oldest);
  }
  Remember(sample);
  if (const auto found = rows_.find(sample); found != rows_.end())
    return Replace(&found->second, row);
  Held held;
  held.tokens = row.tokens;
  held.version = row.version;
  held.used = next_use_++;
  Insert(sample, held, row.bytes);
}

void SampleStore::Clear() {
  rows_.clear();
  by_use_.clear();
  free_slots_.clear();
  journal_.clear();
  next_slot_ = 0;
  next_use_ = 0;
  held_bytes_ = 0;
}

// Rows are megabytes: fresh pages for every visit would cost more than the copy.
void SampleStore::Commit() {
  spare_.clear();
  for (Undo& undo : journal_) {
    if (undo.existed) spare_.push_back(std::move(undo.bytes));
  }
  journal_.clear();
}

void SampleStore::UndoTo(size_t mark) {
  while (journal_.size() > mark) {
    Undo undo = std::move(journal_.back());
    journal_.pop_back();
    Remove(undo.sample);
    if (undo.existed) Insert(undo.sample, undo.held, undo.bytes);
    next_use_ = undo.next_use;
  }
}

void SampleStore::Remember(uint64_t sample) {
  Undo undo{sample, false, {}, next_use_, {}};
  const auto found = rows_.find(sample);
  if (found != rows_.end()) {
    undo.existed = true;
    undo.held = found->second;
    if (!spare_.empty()) {
      undo.bytes = std::move(spare_.back());
      spare_.pop_back();
    }
    const absl::Span<const uint8_t> bytes = BytesOf(found->second);
    undo.bytes.assign(bytes.begin(), bytes.end());
  }
  journal_.push_back(std::move(undo));
}

// In its slot and its node: a visit of a known sample allocates nothing.
void SampleStore::Replace(Held* held, const Row& row) {
  auto node = by_use_.extract(held->used);
  held_bytes_ += static_cast<int64_t>(row.bytes.size()) - static_cast<int64_t>(held->bytes);
  held->tokens = row.tokens;
  held->version = row.version;
  held->bytes = row.bytes.size();
  held->used = next_use_++;
  node.key() = held->used;
  by_use_.insert(std::move(node));
  uint8_t* to = memory_->Slot(held->slot, held->bytes);
  if (held->bytes > 0) std::memcpy(to, row.bytes.data(), held->bytes);
}

void SampleStore::Insert(uint64_t sample, const Held& held, absl::Span<const uint8_t> bytes) {
  Held placed = held;
  placed.bytes = bytes.size();
  if (free_slots_.empty()) {
    placed.slot = next_slot_++;
  } else {
    placed.slot = free_slots_.back();
    free_slots_.pop_back();
  }
  uint8_t* to = memory_->Slot(placed.slot, placed.bytes);
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  held_bytes_ += static_cast<int64_t>(bytes.size());
  by_use_[placed.used] = sample;
  rows_[sample] = placed;
}

void SampleStore::Remove(uint64_t sample) {
  const auto found = rows_.find(sample);
  if (found == rows_.end()) return;
  held_bytes_ -= static_cast<int64_t>(found->second.bytes);
  free_slots_.push_back(found->second.slot);
  by_use_.erase(found->second.used);
  rows_.erase(found);
}

// u8 1 (rows follow) or 0 | varint count | count x (u64 sample, varint tokens, varint version,
// row), in order of use.
void SampleStore::Snapshot(Bytes* out) const {
  ByteWriter writer(out);
  const bool whole = held_bytes_ <= kLargestSnapshot;
  writer.Put(static_cast<uint8_t>(whole));
  writer.PutVarint(whole ? rows_.size() : 0);
  if (!whole) return;
  for (const auto& [used, sample] : by_use_) {
    const Held& held = rows_.at(sample);
    writer.Put(sample);
    writer.PutVarint(held.tokens);
    writer.PutVarint(held.version);
    writer.PutBytes(BytesOf(held));
  }
}

absl::StatusOr<std::vector<SampleStore::Found>> SampleStore::ParseSnapshot(
    ByteReader* in, const StoreRowFormat& format, uint64_t max_tokens) const {
  ISTHMUS_RETURN_IF_ERROR(in->Get<uint8_t>().status());
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t count, in->GetVarint());
  if (count > in->remaining() || (max_rows_ > 0 && count > max_rows_)) {
    return InvalidArgument("message store: expected a snapshot of at most ", max_rows_,
                           " rows, got ", count);
  }
  std::vector<Found> found;
  for (uint64_t i = 0; i < count; ++i) {
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t sample, in->Get<uint64_t>());
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t tokens, in->GetVarint());
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t version, in->GetVarint());
    if (tokens > max_tokens || tokens > in->remaining() || version > UINT32_MAX) {
      return InvalidArgument("message store: expected a snapshot's row, got ", tokens,
                             " tokens of version ", version);
    }
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes,
                             in->GetBytes(format.Bytes(static_cast<size_t>(tokens))));
    found.push_back(
        {sample, {static_cast<uint32_t>(tokens), static_cast<uint32_t>(version), bytes}});
  }
  return found;
}

void SampleStore::Apply(const std::vector<Found>& found) {
  Clear();
  for (const Found& f : found) Put(f.sample, f.row);
  Commit();
}

absl::Status SampleStore::Restore(ByteReader* in, const StoreRowFormat& format,
                                  uint64_t max_tokens) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Found> found, ParseSnapshot(in, format, max_tokens));
  Apply(found);
  return absl::OkStatus();
}

void SampleStore::PutInto(SampleStore* to) const {
  for (const auto& [used, sample] : by_use_) {
    const Held& held = rows_.at(sample);
    to->Put(sample, {held.tokens, held.version, BytesOf(held)});
  }
}

uint64_t SampleStore::Hash() const {
  uint64_t hash = rows_.size();
  for (const auto& [used, sample] : by_use_) {
    const Held& held = rows_.at(sample);
    hash = Mix64(hash ^ sample);
    hash = Mix64(hash ^ (static_cast<uint64_t>(held.tokens) << 32 | held.version));
    hash = Hash64(BytesOf(held), hash);
  }
  return hash;
}

int64_t SampleStore::StateBytes() const {
  return held_bytes_ + static_cast<int64_t>(rows_.size()) * kRowOverheadBytes;
}

}  // namespace isthmus
