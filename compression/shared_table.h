// A table that the sender fits now and then and the receiver holds: channel scales, a permutation,
// a basis. State is what both ends hold.
//
//   u8 1 | the table                     it follows; a training frame makes it the held one
//   u8 0 | u32 Hash64 of the held table, lower half      the held one serves
//
// A receiver that holds another or none asks for key frames (kDataLoss); after RequestKeyFrames the
// sender sends its next table again. Evaluation frames use the held table, or carry one for
// themselves alone.
#ifndef ISTHMUS_COMPRESSION_SHARED_TABLE_H_
#define ISTHMUS_COMPRESSION_SHARED_TABLE_H_

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/status.h"

namespace isthmus {

class SharedTable {
 public:
  // The held table serves for `every` steps (0: for ever), then a training frame brings a new one.
  SharedTable(size_t bytes, uint64_t every) : bytes_(bytes), every_(every) {}

  const Bytes& held() const { return now_.table; }  // empty: none

  // Sender: `fit(Bytes*)` writes a table of the given size when one is due, or the held one no
  // longer serves.
  template <typename Fit>
  const Bytes& Send(uint64_t step, bool training, const Fit& fit, Bytes* side,
                    bool outdated = false) {
    const bool have = !now_.table.empty();
    const bool due = !have || outdated || (training && every_ > 0 && step >= now_.step + every_);
    side->push_back(due ? 1 : 0);
    if (!due) {
      ByteWriter(side).Put(static_cast<uint32_t>(Hash64(now_.table)));
      return now_.table;
    }
    next_.table.resize(bytes_);
    fit(&next_.table);
    next_.step = step;
    staged_ = true;
    side->insert(side->end(), next_.table.begin(), next_.table.end());
    return next_.table;
  }

  // Receiver: the table of this frame. The caller checks what is in it.
  absl::Status Receive(uint64_t step, ByteReader* side, const Bytes** table) {
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t kind, side->Get<uint8_t>());
    if (kind > 1) return InvalidArgument("frame: table: expected kind 0 or 1, got ", kind);
    if (kind == 1) {
      ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, side->GetBytes(bytes_));
      next_.table.assign(bytes.begin(), bytes.end());
      next_.step = step;
      staged_ = true;
      *table = &next_.table;
      return absl::OkStatus();
    }
    ISTHMUS_ASSIGN_OR_RETURN(const uint32_t hash, side->Get<uint32_t>());
    if (now_.table.empty() || hash != static_cast<uint32_t>(Hash64(now_.table))) {
      return DataLoss("frame: table: expected the sender's, got ",
                      now_.table.empty() ? "none" : "another");
    }
    *table = &now_.table;
    return absl::OkStatus();
  }

  void BeginFrame() { staged_ = false; }
  void Settle() {
    if (staged_) std::swap(now_, next_);
    staged_ = false;
  }
  void Commit() {
    if (now_.step != boundary_.step || now_.table != boundary_.table) boundary_ = now_;
  }
  void Rollback() { now_ = boundary_; }
  void Forget() { now_ = boundary_ = Held(); }
  void Snapshot(ByteWriter* out) const {
    out->Put(now_.step);
    out->Put(static_cast<uint8_t>(!now_.table.empty()));
    out->PutBytes(now_.table);
  }
  absl::Status Restore(ByteReader* in) {
    Held held;
    ISTHMUS_ASSIGN_OR_RETURN(held.step, in->Get<uint64_t>());
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t have, in->Get<uint8_t>());
    if (have != 0) {
      ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, in->GetBytes(bytes_));
      held.table.assign(bytes.begin(), bytes.end());
    }
    now_ = boundary_ = std::move(held);
    return absl::OkStatus();
  }
  uint64_t Hash() const { return now_.table.empty() ? 0 : Hash64(now_.table); }
  int64_t StateBytes() const {
    return static_cast<int64_t>(now_.table.size() + boundary_.table.size());
  }
  static int64_t StateBytesFor(size_t bytes) { return 2 * static_cast<int64_t>(bytes); }

 private:
  struct Held {
    Bytes table;
    uint64_t step = 0;
  };
  size_t bytes_;
  uint64_t every_;
  Held now_, boundary_, next_;
  bool staged_ = false;
};

// A transform around one table: forwards the state.
template <typename Interface>
class WithTable : public Interface {
 public:
  WithTable(size_t bytes, uint64_t every) : table_(bytes, every) {}
  void BeginFrame() override { table_.BeginFrame(); }
  void Settle() override { table_.Settle(); }
  void Commit() override { table_.Commit(); }
  void Rollback() override { table_.Rollback(); }
  void Forget() override { table_.Forget(); }
  void Snapshot(ByteWriter* out) const override { table_.Snapshot(out); }
  absl::Status Restore(ByteReader* in) override { return table_.Restore(in); }
  uint64_t Hash() const override { return table_.Hash(); }
  int64_t StateBytes() const override { return table_.StateBytes(); }

 protected:
  SharedTable table_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SHARED_TABLE_H_
