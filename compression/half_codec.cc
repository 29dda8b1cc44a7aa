// fp16 and bf16: two bytes a value, row by row. Gradients in fp16 share one power-of-two exponent
// per frame, because half's smallest subnormal is 6e-8 and gradients of token-averaged losses sit
// at 1e-7 to 1e-9.
//
//   bf16, fp16 forward:   values
//   fp16 backward:        i16 exponent e | values of x * 2^e
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#include "compression/codec_table.h"
#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/stateless.h"

namespace isthmus {
namespace {

// Values at a time: their 16-bit forms stay in the first-level cache until they are appended.
constexpr size_t kChunk = 4096;

enum class Half : uint8_t { kFp16, kBf16 };

// What brings the largest magnitude to [2^14, 2^15): below half's 65504, with all its small values
// left for the rest. Bounded so that 2^e and 2^-e are normal fp32.
int FrameExponent(uint32_t magnitude) {
  const int exponent =
      static_cast<int>(magnitude >> 23) - 127;  // floor(log2), -127 for zero and subnormals
  return std::min(14 - exponent, 120);
}

class HalfEncoder final : public Stateless<Encoder> {
 public:
  HalfEncoder(Half half, const EdgeShape& shape) : half_(half), shape_(shape) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, x_TD.size()).status());
    const size_t n = x_TD.size(), start = out->size();
    EncodedSize size;
    size.payload_bytes = static_cast<int64_t>(2 * n);
    float factor = 1.0f;
    if (half_ == Half::kFp16 && shape_.direction == Direction::kBackward) {
      const uint32_t magnitude = ScanExtent(x_TD.data(), n).magnitude;
      if (magnitude > kLargestMagnitude) return NonFiniteError(shape_, context, x_TD);
      const int exponent = FrameExponent(magnitude);
      ByteWriter(out).Put(static_cast<int16_t>(exponent));
      factor = std::ldexp(1.0f, exponent);
      size.side_bytes = 2;
    }
    uint32_t magnitude = 0;
    out->reserve(out->size() + 2 * n);
    for (size_t at = 0; at < n; at += kChunk) {
      const size_t length = std::min(kChunk, n - at);
      uint16_t codes[kChunk];
      magnitude =
          std::max(magnitude, half_ == Half::kBf16
                                  ? Bf16FromFloats(x_TD.data() + at, length, codes)
                                  : HalfFromFloats(x_TD.data() + at, length, factor, codes));
      const auto* bytes = reinterpret_cast<const uint8_t*>(codes);
      out->insert(out->end(), bytes, bytes + 2 * length);
    }
    if (magnitude > kLargestMagnitude) {
      out->resize(start);
      return NonFiniteError(shape_, context, x_TD);
    }
    if (half_ == Half::kFp16 && factor == 1.0f && magnitude >= kHalfOverflow)
      size.saturated = CountBeyondHalf(x_TD.data(), n);
    return size;
  }

 private:
  Half half_;
  EdgeShape shape_;
};

class HalfDecoder final : public Stateless<Decoder> {
 public:
  HalfDecoder(Half half, const EdgeShape& shape) : half_(half), shape_(shape) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, out_TD.size()).status());
    const size_t n = out_TD.size();
    const bool shared_exponent = half_ == Half::kFp16 && shape_.direction == Direction::kBackward;
    const size_t wanted = 2 * n + (shared_exponent ? 2 : 0);
    if (bytes.size() != wanted) {
      return CorruptFrame(shape_, context, absl::StrCat(wanted, " bytes"),
                          absl::StrCat(bytes.size()));
    }
    float factor = 1.0f;
    if (shared_exponent) {
      int16_t exponent;
      std::memcpy(&exponent, bytes.data(), 2);
      if (exponent < -112 || exponent > 120) {
        return CorruptFrame(shape_, context, "an exponent from -112 to 120",
                            absl::StrCat(exponent));
      }
      factor = std::ldexp(1.0f, -exponent);
      bytes.remove_prefix(2);
    }
    codes_.resize(n);
    if (n > 0) std::memcpy(codes_.data(), bytes.data(), 2 * n);
    const uint32_t magnitude = half_ == Half::kBf16
                                   ? FloatsFromBf16(codes_.data(), n, out_TD.data())
                                   : FloatsFromHalf(codes_.data(), n, factor, out_TD.data());
    if (magnitude > (half_ == Half::kBf16 ? kLargestMagnitude >> 16 : kHalfLargest)) {
      return CorruptFrame(shape_, context, "finite values", "others");
    }
    return absl::OkStatus();
  }

 private:
  Half half_;
  EdgeShape shape_;
  std::vector<uint16_t> codes_;
};

class HalfCodec final : public Codec {
 public:
  explicit HalfCodec(Half half) : half_(half) {}
  std::string text() const override { return half_ == Half::kFp16 ? "fp16" : "bf16"; }
  std::string canonical() const override { return text(); }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
    return std::make_unique<HalfEncoder>(half_, shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
    return std::make_unique<HalfDecoder>(half_, shape);
  }
  StateSize StateSizeFor(const EdgeShape&) const override { return {}; }

 private:
  Half half_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Codec>> MakeFp16Codec(const SpecPart& part,
                                                           const std::string&) {
  ISTHMUS_RETURN_IF_ERROR(SpecArguments::Bind(part, {}).status());
  return std::make_shared<HalfCodec>(Half::kFp16);
}

absl::StatusOr<std::shared_ptr<const Codec>> MakeBf16Codec(const SpecPart& part,
                                                           const std::string&) {
  ISTHMUS_RETURN_IF_ERROR(SpecArguments::Bind(part, {}).status());
  return std::make_shared<HalfCodec>(Half::kBf16);
}

}  // namespace isthmus
