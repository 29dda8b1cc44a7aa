// scale(power, every): divides every channel by a static scale, its RMS in the frame that fitted
// the table to the power of `power` percent, relative to the largest (HadaNorm's and SmoothQuant's
// diagonal). Channels of little energy then get as fine a grid as those of much: what a following
// matrix product may want, while the error of the tensor itself grows. Off in every preset.
//
// Table: a bf16 factor per channel, in [2^-16, 1]. It weighs channels, and a Hadamard behind it is
// HadaNorm's order.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/shared_table.h"

namespace isthmus {
namespace {

struct ScaleOptions {
  int64_t power = 100;
  uint64_t every = 0;
};

constexpr float kSmallest = 0x1p-16f;

class ScaleTransform final : public WithTable<Transform> {
 public:
  ScaleTransform(const ScaleOptions& options, const EdgeShape& shape)
      : WithTable(2 * static_cast<size_t>(shape.width), options.every), options_(options) {}

  bool ByRow() const override { return false; }

  void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) override {
    const Bytes& table = table_.Send(
        frame.step, frame.training, [&](Bytes* fitted) { Fit(x, rows.count, frame.width, fitted); },
        side);
    Load(table, frame.width);
    for (size_t r = 0; r < rows.count; ++r, x += frame.width)
      for (size_t c = 0; c < frame.width; ++c) x[c] = x[c] / factors_[c];
  }

  absl::Status Read(const PartFrame& frame, RowBlock, ByteReader* side) override {
    const Bytes* table = nullptr;
    ISTHMUS_RETURN_IF_ERROR(table_.Receive(frame.step, side, &table));
    Load(*table, frame.width);
    for (size_t c = 0; c < frame.width; ++c) {
      if (!(factors_[c] >= kSmallest && factors_[c] <= 1.0f))
        return CorruptPart("scale", "factors from 2^-16 to 1", factors_[c]);
    }
    return absl::OkStatus();
  }

  void Inverse(const PartFrame& frame, RowBlock rows, float* x) override {
    for (size_t r = 0; r < rows.count; ++r, x += frame.width)
      for (size_t c = 0; c < frame.width; ++c) x[c] = x[c] * factors_[c];
  }

 private:
  void Fit(const float* x, size_t rows, size_t width, Bytes* table) {
    double* squares = Room(&squares_, width);
    std::fill(squares, squares + width, 0.0);
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < width; ++c)
        squares[c] += static_cast<double>(x[r * width + c]) * x[r * width + c];
    const double top = *std::max_element(squares, squares + width);
    for (size_t c = 0; c < width; ++c) {
      const double ratio = top > 0 ? std::sqrt(squares[c] / top) : 1.0;
      const auto factor =
          static_cast<float>(std::pow(ratio, 0.01 * static_cast<double>(options_.power)));
      const uint16_t stored = Bf16FromFloat(std::clamp(factor, kSmallest, 1.0f));
      std::memcpy(table->data() + 2 * c, &stored, 2);
    }
  }
  void Load(const Bytes& table, size_t width) {
    std::memcpy(Room(&stored_, width), table.data(), 2 * width);
    FloatsFromBf16(stored_.data(), width, Room(&factors_, width));
  }

  ScaleOptions options_;
  std::vector<double> squares_;
  std::vector<uint16_t> stored_;
  std::vector<float> factors_;
};

class ScaleSpec final : public PartSpec {
 public:
  explicit ScaleSpec(const ScaleOptions& options) : options_(options) {}
  std::string canonical() const override {
    return absl::StrCat("scale(power=", options_.power, ",every=", options_.every, ")");
  }
  PartTraits traits() const override { return {.moves_channels = true, .has_table = true}; }
  std::unique_ptr<Transform> MakeTransform(const EdgeShape& shape) const override {
    return std::make_unique<ScaleTransform>(options_, shape);
  }
  int64_t StateBytesFor(const EdgeShape& shape) const override {
    return SharedTable::StateBytesFor(2 * static_cast<size_t>(shape.width));
  }

 private:
  ScaleOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeScalePart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"power", "every"}));
  ScaleOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.power, arguments.Int("power", 1, 200, 100));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t every, arguments.Int("every", 0, 1 << 30, 0));
  options.every = static_cast<uint64_t>(every);
  return std::make_shared<ScaleSpec>(options);
}

}  // namespace isthmus
