// channel_pow2(groups): channels in groups whose ranges differ by powers of two (ShiftQuant,
// arXiv 2411.11360, whose grouping rule we infer): a channel 2^k times smaller than the largest is
// multiplied by 2^k, k < groups. With int(group=tensor) behind it, that is one scale for the tensor
// and a shift per channel, which an integer product can apply as a shift.
//
// Multiplying by a power of two is exact. Side information: log2(groups) bits per channel.
#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>

#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

class ChannelPow2 final : public Transform {
 public:
  explicit ChannelPow2(int groups) : groups_(groups) {}

  bool ByRow() const override { return false; }

  void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) override {
    float* largest = Room(&factors_, frame.width);
    std::fill(largest, largest + frame.width, 0.0f);
    for (size_t r = 0; r < rows.count; ++r)
      for (size_t c = 0; c < frame.width; ++c)
        largest[c] = std::max(largest[c], std::fabs(x[r * frame.width + c]));
    const float top = *std::max_element(largest, largest + frame.width);
    uint8_t* shifts = Room(&shifts_, frame.width);
    for (size_t c = 0; c < frame.width; ++c) {
      int shift = 0;
      // 2^(shift + 1) * largest stays at or below top.
      for (float v = largest[c] * 2.0f; shift + 1 < groups_ && v <= top; v *= 2.0f) ++shift;
      shifts[c] = static_cast<uint8_t>(shift);
    }
    const size_t at = side->size();
    side->resize(at + PackedBytes(frame.width, Bits()));
    PackBits(shifts, frame.width, Bits(), side->data() + at);
    Multiply(frame, rows, x, 1);
  }

  absl::Status Read(const PartFrame& frame, RowBlock, ByteReader* side) override {
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> packed,
                             side->GetBytes(PackedBytes(frame.width, Bits())));
    UnpackBits(packed.data(), frame.width, Bits(), Room(&shifts_, frame.width));
    return absl::OkStatus();
  }

  void Inverse(const PartFrame& frame, RowBlock rows, float* x) override {
    Multiply(frame, rows, x, -1);
  }

 private:
  int Bits() const { return std::bit_width(static_cast<unsigned>(groups_ - 1)); }

  void Multiply(const PartFrame& frame, RowBlock rows, float* x, int sign) {
    float* factors = Room(&factors_, frame.width);
    for (size_t c = 0; c < frame.width; ++c)
      factors[c] = std::bit_cast<float>(static_cast<uint32_t>(127 + sign * shifts_[c]) << 23);
    for (size_t r = 0; r < rows.count; ++r, x += frame.width)
      for (size_t c = 0; c < frame.width; ++c) x[c] *= factors[c];
  }

  int groups_;
  std::vector<float> factors_;
  std::vector<uint8_t> shifts_;
};

class ChannelPow2Spec final : public PartSpec {
 public:
  explicit ChannelPow2Spec(int groups) : groups_(groups) {}
  std::string canonical() const override {
    return absl::StrCat("channel_pow2(groups=", groups_, ")");
  }
  PartTraits traits() const override { return {.weighs_channels = true}; }
  std::unique_ptr<Transform> MakeTransform(const EdgeShape&) const override {
    return std::make_unique<ChannelPow2>(groups_);
  }

 private:
  int groups_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeChannelPow2Part(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"groups"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t groups, arguments.Int("groups", 2, 64, 8));
  return std::make_shared<ChannelPow2Spec>(static_cast<int>(groups));
}

}  // namespace isthmus
