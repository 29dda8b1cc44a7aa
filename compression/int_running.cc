// Ranges by running statistics, as the observers of quantisation-aware training keep them (Jacob et
// al., arXiv 1712.05877): the sender follows the smallest and largest value of every group over
// frames, outward at once and inward by a sixteenth, since frames have few values of a channel;
// both ends hold the ranges that were made of them as a table (shared_table.h).
//
//   u8 1 | per group lo bf16 (not symmetric), scale bf16, or u8 0 | u32 hash of the held table
//   codes by row (tile_coder.h)
//
// A new table comes every `every` steps, and at once where more than one value in 256 lies outside
// the held one. Values outside clip.
#include "compression/int_running.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/scratch.h"
#include "compression/shared_table.h"
#include "compression/tile_coder.h"

namespace isthmus {
namespace {

constexpr float kShare = 1.0f / 16;  // of the way back, when a frame needs less
constexpr size_t kOutsideIn = 256;   // one value in as many may clip

struct Range {
  float lo = 0.0f, hi = 0.0f;
};

size_t GroupsOf(const IntOptions& options, const EdgeShape& shape) {
  return options.matrix.group == Group::kTensor ? 1 : static_cast<size_t>(shape.width);
}

class RunningIntFormat final : public WithTable<ValueFormat> {
  using Base = WithTable<ValueFormat>;

 public:
  RunningIntFormat(const IntOptions& options, const EdgeShape& shape)
      : Base(GroupsOf(options, shape) * options.matrix.format.ParameterBytes(), options.every),
        format_(options.matrix.format),
        groups_(GroupsOf(options, shape)),
        coder_(format_) {}

  bool ByRow() const override { return false; }
  int Bits() const override { return format_.bits; }
  void UseEntropyCoder() override { coder_.UseEntropyCoder(); }

  int64_t Encode(const PartFrame& frame, RowBlock rows, const float* x, const uint8_t*,
                 RowNoise* noise, Bytes* out) override {
    const size_t n = rows.count * frame.width;
    if (ScanExtent(x, n).magnitude > kLargestMagnitude) return -1;
    Follow(x, rows.count, frame.width);
    bool outside = false;
    if (Load(table_.held())) outside = Outside(x, rows.count, frame.width) * kOutsideIn > n;
    const Bytes& table = table_.Send(
        frame.step, frame.training, [&](Bytes* fitted) { Fit(fitted); }, out, outside);
    Load(table);
    return coder_.EncodeCodes(Tiled(rows, frame.width), parameters_.data(), x, noise, rows.first,
                              out);
  }

  absl::Status Decode(const PartFrame& frame, RowBlock rows, const uint8_t*, ByteReader* in,
                      float* x) override {
    const Bytes* table = nullptr;
    ISTHMUS_RETURN_IF_ERROR(table_.Receive(frame.step, in, &table));
    if (!Load(*table)) return CorruptPart("int", "ranges of finite scale", "others");
    if (coder_.DecodeCodes(Tiled(rows, frame.width), parameters_.data(), in, x))
      return absl::OkStatus();
    return CorruptPart("int", "codes of the format", "others");
  }

  void BeginFrame() override {
    Base::BeginFrame();
    followed_ = false;
  }
  void Settle() override {
    Base::Settle();
    if (followed_) now_ = next_;
    followed_ = false;
  }
  void Commit() override {
    Base::Commit();
    boundary_ = now_;
  }
  void Rollback() override {
    Base::Rollback();
    now_ = boundary_;
  }
  // The ranges belong to the sender: u8 known | them, behind the table.
  void Snapshot(ByteWriter* out) const override {
    Base::Snapshot(out);
    out->Put(static_cast<uint8_t>(!boundary_.empty()));
    for (const Range& range : boundary_) {
      out->Put(range.lo);
      out->Put(range.hi);
    }
  }
  absl::Status Restore(ByteReader* in) override {
    ISTHMUS_RETURN_IF_ERROR(Base::Restore(in));
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t known, in->Get<uint8_t>());
    std::vector<Range> read(known != 0 ? groups_ : 0);
    for (Range& range : read) {
      ISTHMUS_ASSIGN_OR_RETURN(range.lo, in->Get<float>());
      ISTHMUS_ASSIGN_OR_RETURN(range.hi, in->Get<float>());
      if (!(range.lo <= range.hi)) return CorruptPart("int", "ranges in order", "others");
    }
    now_ = boundary_ = std::move(read);
    return absl::OkStatus();
  }
  int64_t StateBytes() const override {
    return Base::StateBytes() +
           static_cast<int64_t>((now_.size() + boundary_.size()) * sizeof(Range));
  }

 private:
  TiledRows Tiled(RowBlock rows, size_t width) const {
    return {
        {std::max<size_t>(rows.count, 1), groups_ == 1 ? width : 1}, rows.count, width, nullptr};
  }

  // What the groups hold in this frame, and the running ranges with it.
  void Follow(const float* x, size_t rows, size_t width) {
    seen_.resize(groups_);
    if (groups_ == 1) {
      const Extent extent = ScanExtent(x, rows * width);
      seen_[0] = {extent.lo, extent.hi};
    } else {
      for (size_t c = 0; c < width; ++c) seen_[c] = {x[c], x[c]};
      for (size_t r = 1; r < rows; ++r) {
        const float* row = x + r * width;
        for (size_t c = 0; c < width; ++c) {
          seen_[c].lo = std::min(seen_[c].lo, row[c]);
          seen_[c].hi = std::max(seen_[c].hi, row[c]);
        }
      }
    }
    followed_ = true;
    next_ = now_.empty() ? seen_ : now_;
    for (size_t g = 0; g < groups_; ++g) {
      Range& next = next_[g];
      next.lo = std::min(seen_[g].lo, next.lo + (seen_[g].lo - next.lo) * kShare);
      next.hi = std::max(seen_[g].hi, next.hi + (seen_[g].hi - next.hi) * kShare);
    }
  }

  size_t Outside(const float* x, size_t rows, size_t width) const {
    size_t outside = 0;
    for (size_t r = 0; r < rows; ++r, x += width) {
      for (size_t c = 0; c < width; ++c) {
        const Range& held = held_[groups_ == 1 ? 0 : c];
        outside += x[c] < held.lo || x[c] > held.hi;
      }
    }
    return outside;
  }

  void Fit(Bytes* table) const {
    for (size_t g = 0; g < groups_; ++g) {
      StoreParameters(format_, FromRange(format_, next_[g].lo, next_[g].hi),
                      table->data() + g * format_.ParameterBytes());
    }
  }

  // False without a table. Half a step beyond the ends rounds to them.
  bool Load(const Bytes& table) {
    if (table.empty()) return false;
    parameters_.resize(groups_);
    held_.resize(groups_);
    for (size_t g = 0; g < groups_; ++g) {
      GroupParameters* p = &parameters_[g];
      if (!LoadParameters(format_, table.data() + g * format_.ParameterBytes(), p)) return false;
      const float last = p->base + p->top * p->scale;
      held_[g] = {p->base - 0.5f * p->scale, last + 0.5f * p->scale};
    }
    return true;
  }

  const GroupFormat format_;
  const size_t groups_;
  TileCoder coder_;
  std::vector<GroupParameters> parameters_;
  std::vector<Range> held_;                          // what the loaded table spans
  std::vector<Range> now_, boundary_, next_, seen_;  // at the sender
  bool followed_ = false;
};

}  // namespace

std::unique_ptr<ValueFormat> MakeRunningInt(const IntOptions& options, const EdgeShape& shape) {
  return std::make_unique<RunningIntFormat>(options, shape);
}

int64_t RunningIntStateBytes(const IntOptions& options, const EdgeShape& shape) {
  const size_t groups = GroupsOf(options, shape);
  return SharedTable::StateBytesFor(groups * options.matrix.format.ParameterBytes()) +
         static_cast<int64_t>(2 * groups * sizeof(Range));
}

}  // namespace isthmus
