#include "compression/ecq_state.h"

#include <bit>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/status.h"
#include "compression/frame_check.h"
#include "compression/store_row.h"

namespace isthmus {
namespace {

// Counts of slots remember about 2^17 rows, the small ones about 500 symbols.
constexpr uint32_t kSlotIncrement = 32, kSlotLimit = 1u << 22;
constexpr uint32_t kSmallIncrement = 32, kSmallLimit = 1u << 14;
constexpr int kMostWeight = 8;

size_t RowWidth(const EdgeShape& shape) {
  return static_cast<size_t>(shape.width) * (shape.shared_earlier ? 2 : 1);
}

size_t StoreRows(const EcqOptions& options, const EdgeShape& shape) {
  if (options.capacity > 0) return static_cast<size_t>(options.capacity);
  return static_cast<size_t>(shape.num_samples);
}

AdaptiveCounts SmallCounts(size_t n) {
  AdaptiveCounts counts(n, kSmallIncrement, kSmallLimit);
  for (size_t s = 0; s < n; ++s) counts.Add(s, 1);
  return counts;
}

// What a core of these sizes takes, and what does not depend on sizes: counts of a few symbols.
int64_t CoreBytesFor(const EcqOptions& options, const EdgeShape& shape) {
  const int64_t by_channel =
      (kEcqModes + 3 + (shape.shared_earlier ? 4 : 0)) * 4 + 1;  // floats and the weight
  const auto row = static_cast<int64_t>(RowWidth(shape));
  return shape.width * by_channel + row * 4 + options.num_slots * 4 +
         static_cast<int64_t>(sizeof(EcqTables::State)) + 256;
}

bool IsFinite(float v) { return (std::bit_cast<uint32_t>(v) & 0x7F800000u) != 0x7F800000u; }

// Calls visit(values) for every float vector of a core.
template <typename Core, typename Visit>
void EachVector(Core* core, const Visit& visit) {
  for (auto& expected : core->expected) visit(&expected);
  for (auto* values : {&core->mean, &core->sum_dd, &core->sum_dy, &core->factor_d, &core->sum_ff,
                       &core->sum_fd, &core->sum_fy, &core->factor_f}) {
    visit(values);
  }
}

template <typename Core, typename Visit>
void EachCounts(Core* core, const Visit& visit) {
  for (auto& counts : core->mode_counts) visit(&counts);
  for (auto* counts : {&core->slot_counts, &core->id_counts, &core->weight_counts}) visit(counts);
}

}  // namespace

EcqCore::EcqCore(size_t width, size_t row_width, size_t num_slots)
    : tables(EcqTables().state()),
      mean(row_width),
      sum_dd(width),
      sum_dy(width),
      factor_d(width),
      weights(width),
      mode_counts(kEcqModes, SmallCounts(kEcqModes)),
      slot_counts(num_slots + 1, kSlotIncrement, kSlotLimit),
      id_counts(SmallCounts(3)),
      weight_counts(SmallCounts(4 * kMostWeight + 1)) {
  for (auto& e : expected) e.assign(width, 0.0f);
  slot_counts.Add(num_slots, 1);  // "a new id" can always come
  if (row_width == width) return;
  for (auto* features : {&sum_ff, &sum_fd, &sum_fy, &factor_f}) features->assign(width, 0.0f);
}

int64_t EcqCore::StateBytes() const {
  int64_t bytes = static_cast<int64_t>(sizeof(tables) + weights.size());
  EachVector(this, [&](const std::vector<float>* values) {
    bytes += static_cast<int64_t>(values->size() * sizeof(float));
  });
  EachCounts(this, [&](const AdaptiveCounts* counts) {
    bytes += static_cast<int64_t>(counts->size() * sizeof(uint32_t));
  });
  return bytes;
}

void EcqCore::Write(Bytes* out) const {
  ByteWriter writer(out);
  writer.Put(lineage);
  writer.Put(frames);
  writer.Put(step);
  for (const uint32_t n : mean_rows) writer.Put(n);
  for (const auto& by_mode : rows) {
    for (const uint32_t n : by_mode) writer.Put(n);
  }
  EachVector(this, [&](const std::vector<float>* values) {
    writer.PutBytes({reinterpret_cast<const uint8_t*>(values->data()), values->size() * 4});
  });
  for (const int8_t w : weights) writer.Put(w);
  EachCounts(this, [&](const AdaptiveCounts* counts) { counts->Write(out); });
  EcqTables written;
  written.set_state(tables);
  written.Write(out);
}

bool EcqCore::Read(ByteReader* in) {
  bool good = true;
  const auto read = [&](auto* value) {
    const auto got = in->Get<std::remove_pointer_t<decltype(value)>>();
    good = good && got.ok();
    if (got.ok()) *value = *got;
  };
  read(&lineage);
  read(&frames);
  read(&step);
  for (uint32_t& n : mean_rows) read(&n);
  for (auto& by_mode : rows) {
    for (uint32_t& n : by_mode) read(&n);
  }
  good = good && IsFinite(step) && step >= 0.0f;
  EachVector(this, [&](std::vector<float>* values) {
    const auto bytes = in->GetBytes(values->size() * 4);
    good = good && bytes.ok();
    if (!good || values->empty()) return;
    std::memcpy(values->data(), bytes->data(), bytes->size());
    for (const float v : *values) good = good && IsFinite(v);
  });
  for (int8_t& w : weights) {
    read(&w);
    good = good && w >= -kMostWeight && w <= kMostWeight;
  }
  EachCounts(this, [&](AdaptiveCounts* counts) { good = good && counts->Read(in); });
  EcqTables read_tables;
  good = good && read_tables.Read(in);
  tables = read_tables.state();
  return good;
}

absl::StatusOr<std::unique_ptr<SlotMemory>> MakeEcqRows(const EcqOptions& options,
                                                        const EdgeShape& shape) {
  const bool stores = options.samples && shape.direction == Direction::kForward;
  if (!options.mapped || !stores) return MakeRamSlots();
  if (shape.state_dir.empty() || StoreRows(options, shape) == 0 || shape.max_sample_tokens == 0) {
    return InvalidArgument(
        "codec ecq: store=mmap: expected a state folder and known numbers of samples and tokens, "
        "got ",
        shape.state_dir.empty() ? "no folder" : "unknown numbers");
  }
  return MakeMappedSlots(shape.state_dir, StoreRows(options, shape),
                         static_cast<size_t>(shape.max_sample_tokens * shape.width * 2));
}

EcqState::EcqState(const EcqOptions& options, const EdgeShape& shape,
                   std::unique_ptr<SlotMemory> rows)
    : core(static_cast<size_t>(shape.width), RowWidth(shape),
           static_cast<size_t>(options.num_slots)),
      slots(static_cast<size_t>(options.num_slots), RowWidth(shape)),
      samples(std::move(rows), StoreRows(options, shape)),
      ids(MakeRamSlots(), StoreRows(options, shape)),
      options_(options),
      shape_(shape),
      frame_start_(core),
      boundary_(core) {}

void EcqState::BeginFrame() {
  core.tables = tables.state();
  frame_start_ = core;
  slots_mark_ = slots.Mark();
  samples_mark_ = samples.JournalMark();
  ids_mark_ = ids.JournalMark();
}

void EcqState::FinishFrame() {
  core.tables = tables.state();
  in_step_ = true;
}

void EcqState::FinishTraining(absl::Span<const uint8_t> frame) {
  core.lineage = Hash64(frame, core.lineage);
  ++core.frames;
  FinishFrame();
}

void EcqState::SetCore(const EcqCore& from) {
  core = from;
  tables.set_state(core.tables);
}

void EcqState::AbandonFrame() {
  SetCore(frame_start_);
  slots.UndoTo(slots_mark_);
  samples.UndoTo(samples_mark_);
  ids.UndoTo(ids_mark_);
}

void EcqState::Commit() {
  core.tables = tables.state();
  boundary_ = core;
  slots.Commit();
  samples.Commit();
  ids.Commit();
  in_step_ = false;
}

void EcqState::Rollback() {
  SetCore(boundary_);
  slots.Rollback();
  samples.Rollback();
  ids.Rollback();
  in_step_ = false;
}

void EcqState::Clear() {
  SetCore(EcqCore(static_cast<size_t>(shape_.width), RowWidth(shape_),
                  static_cast<size_t>(options_.num_slots)));
  slots.Clear();
  samples.Clear();
  ids.Clear();
  Commit();
}

void EcqState::Adopt(EcqState&& other) {
  SetCore(other.core);
  frame_start_ = std::move(other.frame_start_);
  boundary_ = std::move(other.boundary_);
  slots = std::move(other.slots);
  ids = std::move(other.ids);
  samples.Clear();
  other.samples.PutInto(&samples);
  slots_mark_ = other.slots_mark_;
  samples_mark_ = 0;
  ids_mark_ = other.ids_mark_;
  in_step_ = other.in_step_;
}

void EcqState::Write(Bytes* out) const {
  core.Write(out);
  slots.Write(out);
  samples.Snapshot(out);
  ids.Snapshot(out);
}

absl::Status EcqState::Read(ByteReader* in) {
  EcqCore read_core = boundary_;
  EcqSlots read_slots(static_cast<size_t>(options_.num_slots), RowWidth(shape_));
  const uint64_t most = shape_.max_sample_tokens > 0
                            ? static_cast<uint64_t>(shape_.max_sample_tokens)
                            : uint64_t{UINT32_MAX};
  if (!read_core.Read(in) || !read_slots.Read(in)) {
    return InvalidArgument("codec ecq: snapshot: expected the state of ", shape_.width,
                           " channels, got something else");
  }
  ISTHMUS_ASSIGN_OR_RETURN(
      const std::vector<SampleStore::Found> rows,
      samples.ParseSnapshot(in, StoreRowFormat(StoreType::kBf16, shape_.width), most));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<SampleStore::Found> numbers,
                           ids.ParseSnapshot(in, StoreRowFormat(StoreType::kBf16, 1), most));
  SetCore(read_core);
  slots = std::move(read_slots);
  samples.Apply(rows);
  ids.Apply(numbers);
  Commit();
  return absl::OkStatus();
}

uint64_t EcqState::CheckHash() const {
  Bytes bytes;
  core.Write(&bytes);
  return Hash64(bytes, slots.Hash());
}

uint64_t EcqState::Hash() const { return Mix64(Mix64(CheckHash() ^ samples.Hash()) ^ ids.Hash()); }

int64_t EcqState::StateBytes() const {
  return slots.StateBytes() + samples.StateBytes() + ids.StateBytes() + 3 * core.StateBytes() +
         EcqTables::kStateBytes;
}

Codec::StateSize EcqState::StateSizeFor(const EcqOptions& options, const EdgeShape& shape) {
  const int64_t rows = static_cast<int64_t>(StoreRows(options, shape));
  const bool forward = shape.direction == Direction::kForward;
  Codec::StateSize size;
  size.ram_bytes = 3 * CoreBytesFor(options, shape) + EcqTables::kStateBytes;
  if (forward && options.slots) {
    size.ram_bytes +=
        EcqSlots::StateBytesFor(static_cast<size_t>(options.num_slots), RowWidth(shape));
    size.ram_bytes += rows * (shape.max_sample_tokens * 2 + SampleStore::kRowOverheadBytes);
  }
  if (!forward || !options.samples) return size;
  const int64_t values = rows * shape.max_sample_tokens * shape.width * 2;
  (options.mapped ? size.file_bytes : size.ram_bytes) += values;
  size.ram_bytes += rows * SampleStore::kRowOverheadBytes;
  return size;
}

}  // namespace isthmus
