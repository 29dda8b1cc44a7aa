// topk(share): the `share` percent of the frame's entries with the largest magnitudes travel in
// bf16 with their places; the matrix keeps zeros there, which no longer set its ranges. An entry
// costs about 24 bits.
//
// Side information: varint K | K varint gaps between the rising places | K values in bf16.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>

#include "compression/decimal.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

class TopKSidecar final : public Sidecar {
 public:
  explicit TopKSidecar(double share) : share_(share) {}

  void TakeOut(PartFrame* frame, float* x, Bytes* side) override {
    const size_t n = frame->rows * frame->width;
    FindPlaces(x, n);
    ByteWriter writer(side);
    writer.PutVarint(places_.size());
    uint64_t next = 0;
    float* values = Room(&values_, places_.size());
    for (const uint64_t place : places_) {
      writer.PutVarint(place - next);
      next = place + 1;
      *values++ = x[place];
      x[place] = 0.0f;
    }
    const size_t at = side->size(), count = places_.size();
    Bf16FromFloats(values_.data(), count, Room(&stored_, count));
    side->resize(at + 2 * count);
    if (count > 0) std::memcpy(side->data() + at, stored_.data(), 2 * count);
  }

  absl::Status Read(PartFrame* frame, ByteReader* side) override {
    const uint64_t n = static_cast<uint64_t>(frame->rows) * frame->width;
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t count, side->GetVarint());
    if (count > Count(n)) return CorruptPart("topk", "the agreed share of entries", count);
    places_.clear();
    uint64_t next = 0;
    for (uint64_t i = 0; i < count; ++i) {
      ISTHMUS_ASSIGN_OR_RETURN(const uint64_t gap, side->GetVarint());
      if (next >= n || gap >= n - next)
        return CorruptPart("topk", "rising places in the frame", "others");
      places_.push_back(next + gap);
      next += gap + 1;
    }
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, side->GetBytes(2 * count));
    if (count > 0) std::memcpy(Room(&stored_, count), bytes.data(), 2 * count);
    if (FloatsFromBf16(stored_.data(), count, Room(&values_, count)) >= 0x7F80u)
      return CorruptPart("topk", "finite values", "others");
    return absl::OkStatus();
  }

  void PutBack(float* x) override {
    for (size_t i = 0; i < places_.size(); ++i) x[places_[i]] = values_[i];
  }

 private:
  uint64_t Count(uint64_t n) const {
    return static_cast<uint64_t>(std::llround(0.01 * share_ * static_cast<double>(n)));
  }

  // Magnitudes order as their bits do; of equal ones at the border the first are taken.
  void FindPlaces(const float* x, size_t n) {
    places_.clear();
    const size_t count = Count(n);
    if (count == 0) return;
    uint32_t* magnitudes = Room(&magnitudes_, n);
    for (size_t i = 0; i < n; ++i) magnitudes[i] = std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu;
    std::nth_element(magnitudes, magnitudes + (n - count), magnitudes + n);
    const uint32_t border = magnitudes[n - count];
    size_t at_border =
        count - static_cast<size_t>(std::count_if(magnitudes + (n - count), magnitudes + n,
                                                  [&](uint32_t m) { return m > border; }));
    for (size_t i = 0; i < n; ++i) {
      const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu;
      if (magnitude < border || (magnitude == border && at_border == 0)) continue;
      if (magnitude == border) --at_border;
      places_.push_back(i);
    }
  }

  double share_;
  std::vector<uint64_t> places_;
  std::vector<uint32_t> magnitudes_;
  std::vector<float> values_;
  std::vector<uint16_t> stored_;
};

class TopKSpec final : public PartSpec {
 public:
  explicit TopKSpec(double share) : share_(share) {}
  std::string canonical() const override {
    return absl::StrCat("topk(share=", Decimal(share_), ")");
  }
  std::unique_ptr<Sidecar> MakeSidecar(const EdgeShape&) const override {
    return std::make_unique<TopKSidecar>(share_);
  }

 private:
  double share_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeTopKPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"share"}));
  ISTHMUS_ASSIGN_OR_RETURN(const double share, arguments.Number("share", 0.0, 50.0, 1.0));
  return std::make_shared<TopKSpec>(share);
}

}  // namespace isthmus
