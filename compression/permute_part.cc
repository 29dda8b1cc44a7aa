// permute(every): orders channels by the largest magnitude they had in the frame that fitted the
// table, so that channels of like size share tiles (COMET's outlier clustering, RPTQ): with
// policy(allocate=threshold) few tiles then need the wide codes.
//
// Table: a u32 per channel, the old place of the channel at each new place.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>

#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/shared_table.h"

namespace isthmus {
namespace {

class PermuteTransform final : public WithTable<Transform> {
 public:
  PermuteTransform(uint64_t every, const EdgeShape& shape)
      : WithTable(4 * static_cast<size_t>(shape.width), every) {}

  bool ByRow() const override { return false; }

  void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) override {
    const Bytes& table = table_.Send(
        frame.step, frame.training, [&](Bytes* fitted) { Fit(x, rows.count, frame.width, fitted); },
        side);
    std::memcpy(Room(&from_, frame.width), table.data(), 4 * frame.width);
    float* row = Room(&row_, frame.width);
    for (size_t r = 0; r < rows.count; ++r, x += frame.width) {
      for (size_t c = 0; c < frame.width; ++c) row[c] = x[from_[c]];
      std::memcpy(x, row, frame.width * sizeof(float));
    }
  }

  absl::Status Read(const PartFrame& frame, RowBlock, ByteReader* side) override {
    const Bytes* table = nullptr;
    ISTHMUS_RETURN_IF_ERROR(table_.Receive(frame.step, side, &table));
    std::memcpy(Room(&from_, frame.width), table->data(), 4 * frame.width);
    seen_.assign(frame.width, 0);
    for (size_t c = 0; c < frame.width; ++c) {
      if (from_[c] >= frame.width || seen_[from_[c]]++ != 0)
        return CorruptPart("permute", "every channel once", "another table");
    }
    return absl::OkStatus();
  }

  void Inverse(const PartFrame& frame, RowBlock rows, float* x) override {
    float* row = Room(&row_, frame.width);
    for (size_t r = 0; r < rows.count; ++r, x += frame.width) {
      for (size_t c = 0; c < frame.width; ++c) row[from_[c]] = x[c];
      std::memcpy(x, row, frame.width * sizeof(float));
    }
  }

 private:
  void Fit(const float* x, size_t rows, size_t width, Bytes* table) {
    float* largest = Room(&row_, width);
    std::fill(largest, largest + width, 0.0f);
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < width; ++c)
        largest[c] = std::max(largest[c], std::fabs(x[r * width + c]));
    uint32_t* from = Room(&from_, width);
    std::iota(from, from + width, 0u);
    std::sort(from, from + width, [&](uint32_t a, uint32_t b) {
      return largest[a] != largest[b] ? largest[a] > largest[b] : a < b;
    });
    std::memcpy(table->data(), from, 4 * width);
  }

  std::vector<uint32_t> from_;
  std::vector<uint8_t> seen_;
  std::vector<float> row_;
};

class PermuteSpec final : public PartSpec {
 public:
  explicit PermuteSpec(uint64_t every) : every_(every) {}
  std::string canonical() const override { return absl::StrCat("permute(every=", every_, ")"); }
  PartTraits traits() const override { return {.moves_channels = true, .has_table = true}; }
  std::unique_ptr<Transform> MakeTransform(const EdgeShape& shape) const override {
    return std::make_unique<PermuteTransform>(every_, shape);
  }
  int64_t StateBytesFor(const EdgeShape& shape) const override {
    return SharedTable::StateBytesFor(4 * static_cast<size_t>(shape.width));
  }

 private:
  uint64_t every_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakePermutePart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"every"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t every, arguments.Int("every", 0, 1 << 30, 0));
  return std::make_shared<PermuteSpec>(static_cast<uint64_t>(every));
}

}  // namespace isthmus
