// center(channel | token): subtracts means, so that channels that sit far from zero in every token
// (massive activations) do not set the range of the tile or of the Hadamard block they are in.
//
//   channel   one mean per channel over the frame's tokens: 16 / tokens bits an element (HadaNorm)
//   token     one mean per token over its channels: 16 / width bits
//
// Means are rounded to bf16 and subtracted as rounded. Side information: the means.
#include <memory>

#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/sums.h"

namespace isthmus {
namespace {

enum class MeanOf : uint8_t { kChannel, kToken };

class CenterTransform final : public Transform {
 public:
  explicit CenterTransform(MeanOf of) : of_(of) {}

  bool ByRow() const override { return of_ == MeanOf::kToken; }

  void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) override {
    const size_t count = Count(frame, rows), at = side->size();
    uint16_t* stored = Room(&stored_, count);
    if (of_ == MeanOf::kToken) {
      for (size_t r = 0; r < rows.count; ++r) {
        stored[r] = Stored(SumMoments(x + r * frame.width, frame.width).sum /
                           static_cast<double>(frame.width));
      }
    } else {
      sums_.assign(count, 0.0);
      for (size_t r = 0; r < rows.count; ++r)
        for (size_t c = 0; c < count; ++c) sums_[c] += x[r * frame.width + c];
      for (size_t c = 0; c < count; ++c)
        stored[c] = Stored(sums_[c] / static_cast<double>(rows.count));
    }
    side->resize(at + 2 * count);
    std::memcpy(side->data() + at, stored, 2 * count);
    FloatsFromBf16(stored, count, Room(&means_, count));
    Apply(frame, rows, x, [](float v, float mean) { return v - mean; });
  }

  absl::Status Read(const PartFrame& frame, RowBlock rows, ByteReader* side) override {
    const size_t count = Count(frame, rows);
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, side->GetBytes(2 * count));
    std::memcpy(Room(&stored_, count), bytes.data(), 2 * count);
    FloatsFromBf16(stored_.data(), count, Room(&means_, count));
    return absl::OkStatus();
  }

  void Inverse(const PartFrame& frame, RowBlock rows, float* x) override {
    Apply(frame, rows, x, [](float v, float mean) { return v + mean; });
  }

 private:
  size_t Count(const PartFrame& frame, RowBlock rows) const {
    return of_ == MeanOf::kToken ? rows.count : frame.width;
  }
  static uint16_t Stored(double mean) { return Bf16FromFloat(static_cast<float>(mean)); }

  template <typename Change>
  void Apply(const PartFrame& frame, RowBlock rows, float* x, const Change& change) {
    const float* means = means_.data();
    for (size_t r = 0; r < rows.count; ++r, x += frame.width) {
      if (of_ == MeanOf::kToken) {
        const float mean = means[r];
        for (size_t c = 0; c < frame.width; ++c) x[c] = change(x[c], mean);
      } else {
        for (size_t c = 0; c < frame.width; ++c) x[c] = change(x[c], means[c]);
      }
    }
  }

  MeanOf of_;
  std::vector<uint16_t> stored_;
  std::vector<float> means_;
  std::vector<double> sums_;
};

class CenterSpec final : public PartSpec {
 public:
  explicit CenterSpec(MeanOf of) : of_(of) {}
  std::string canonical() const override {
    return of_ == MeanOf::kToken ? "center(token)" : "center(channel)";
  }
  std::unique_ptr<Transform> MakeTransform(const EdgeShape&) const override {
    return std::make_unique<CenterTransform>(of_);
  }

 private:
  MeanOf of_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeCenterPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {}, {"channel", "token"}));
  if (arguments.Flag("channel") && arguments.Flag("token")) {
    return InvalidArgument("codec center: expected one of channel, token, got both");
  }
  return std::make_shared<CenterSpec>(arguments.Flag("token") ? MeanOf::kToken : MeanOf::kChannel);
}

}  // namespace isthmus
