// step(db | size, round): one step for the whole matrix and no clipping: a value costs the bits
// that its size needs. With db the step follows the frame's RMS so that the noise is db decibels
// below it; with size it is fixed.
//
//   [step bf16, with db] | 5 bits per run of 64 values of the matrix: width of its codes | codes,
//   zigzag, one bit stream, whole bytes
//   with rans behind it:   [step] | SymbolCoder bytes of the zigzag codes
//
// round=dither subtracts at the receiver what the sender added before rounding (subtractive dither,
// keyed by sample and position): the error is uniform and independent of the value.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>

#include "compression/bit_stream.h"
#include "compression/decimal.h"
#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/sums.h"
#include "compression/symbol_coder.h"

namespace isthmus {
namespace {

struct StepOptions {
  double db = 20.0;
  double size = 0.0;  // > 0: fixed
  Rounding rounding = Rounding::kByDirection;
  bool dither = false;
};

constexpr size_t kRun = 64;
constexpr float kLargestCode = 0x1p29f;

class StepFormat final : public ValueFormat {
 public:
  StepFormat(const StepOptions& options, const EdgeShape& shape)
      : options_(options), dither_(shape) {}

  bool ByRow() const override { return false; }
  void UseEntropyCoder() override { entropy_ = true; }

  int64_t Encode(const PartFrame& frame, RowBlock rows, const float* x, const uint8_t*,
                 RowNoise* noise, Bytes* out) override {
    const size_t n = rows.count * frame.width;
    if (ScanExtent(x, n).magnitude > kLargestMagnitude) return -1;
    const float step = ChooseStep(x, n, out);
    Quantize(frame, rows, x, step, options_.dither ? &dither_ : noise);
    if (entropy_) return symbols_.Encode(codes_.data(), nullptr, rows.count, frame.width, out);
    const size_t runs = NumTiles(n, kRun), widths_at = out->size();
    uint8_t* widths = Room(&widths_, runs);
    out->resize(widths_at + PackedBytes(runs, 5));
    size_t bits = 0;
    for (size_t i = 0; i < runs; ++i) {
      uint32_t any = 0;
      const size_t end = std::min(n, (i + 1) * kRun);
      for (size_t k = i * kRun; k < end; ++k) any |= codes_[k];
      widths[i] = static_cast<uint8_t>(std::bit_width(any));
      bits += (end - i * kRun) * widths[i];
    }
    PackBits(widths, runs, 5, out->data() + widths_at);
    Pack(n, out);
    return static_cast<int64_t>((bits + 7) / 8);
  }

  absl::Status Decode(const PartFrame& frame, RowBlock rows, const uint8_t*, ByteReader* in,
                      float* x) override {
    const size_t n = rows.count * frame.width;
    ISTHMUS_ASSIGN_OR_RETURN(const float step, ReadStep(in));
    if (entropy_) {
      if (!symbols_.Decode(in, nullptr, rows.count, frame.width, Room(&codes_, n)))
        return CorruptPart("rans", "a coded matrix", "other bytes");
    } else {
      ISTHMUS_RETURN_IF_ERROR(ReadRuns(n, in));
    }
    if (options_.dither) dither_.Begin(frame.step, frame.samples);
    const uint32_t* codes = codes_.data();
    for (size_t r = 0; r < rows.count; ++r, x += frame.width, codes += frame.width) {
      const float* noise =
          options_.dither ? dither_.Row(static_cast<int64_t>(rows.first + r)) : nullptr;
      for (size_t c = 0; c < frame.width; ++c) {
        const float value = static_cast<float>(UnZigZag(codes[c]));
        x[c] = (noise != nullptr ? value - noise[c] : value) * step;
      }
    }
    return absl::OkStatus();
  }

 private:
  float ChooseStep(const float* x, size_t n, Bytes* out) const {
    if (options_.size > 0) return static_cast<float>(options_.size);
    const double variance = SumMoments(x, n).squares / static_cast<double>(std::max<size_t>(1, n));
    const double step = std::sqrt(12.0 * variance) * std::pow(10.0, -options_.db / 20.0);
    const uint16_t stored = step < 0x1p-100 ? 0 : Bf16FromFloat(static_cast<float>(step));
    ByteWriter(out).Put(stored);
    return FloatFromBf16(stored);
  }
  absl::StatusOr<float> ReadStep(ByteReader* in) const {
    if (options_.size > 0) return static_cast<float>(options_.size);
    ISTHMUS_ASSIGN_OR_RETURN(const uint16_t bits, in->Get<uint16_t>());
    const float step = FloatFromBf16(bits);
    if (step >= 0.0f && step < 0x1p96f) return step;
    return CorruptPart("step", "a step below 2^96", step);
  }

  void Quantize(const PartFrame& frame, RowBlock rows, const float* x, float step,
                RowNoise* noise) {
    uint32_t* codes = Room(&codes_, rows.count * frame.width);
    const float inverse = step > 0.0f ? 1.0f / step : 0.0f;
    if (options_.dither) dither_.Begin(frame.step, frame.samples);
    for (size_t r = 0; r < rows.count; ++r, x += frame.width, codes += frame.width) {
      const float* with =
          noise != nullptr ? noise->Row(static_cast<int64_t>(rows.first + r)) : nullptr;
      for (size_t c = 0; c < frame.width; ++c) {
        float v = x[c] * inverse + (with != nullptr ? with[c] : 0.0f);
        v = std::clamp(v, -kLargestCode, kLargestCode);
        const auto level = static_cast<int32_t>(std::nearbyintf(v));
        codes[c] = ZigZag(level);
      }
    }
  }

  absl::Status ReadRuns(size_t n, ByteReader* in) {
    const size_t runs = NumTiles(n, kRun);
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> packed,
                             in->GetBytes(PackedBytes(runs, 5)));
    uint8_t* widths = Room(&widths_, runs);
    UnpackBits(packed.data(), runs, 5, widths);
    size_t bits = 0;
    for (size_t i = 0; i < runs; ++i) bits += (std::min(n, (i + 1) * kRun) - i * kRun) * widths[i];
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> codes, in->GetBytes((bits + 7) / 8));
    Unpack(codes.data(), n);
    return absl::OkStatus();
  }

  void Pack(size_t n, Bytes* out) const {
    uint64_t word = 0;
    int fill = 0;
    for (size_t i = 0; i < n; ++i) {
      word |= static_cast<uint64_t>(codes_[i]) << fill;
      for (fill += widths_[i / kRun]; fill >= 8; fill -= 8, word >>= 8)
        out->push_back(static_cast<uint8_t>(word));
    }
    if (fill > 0) out->push_back(static_cast<uint8_t>(word));
  }
  void Unpack(const uint8_t* in, size_t n) {
    uint32_t* codes = Room(&codes_, n);
    uint64_t word = 0;
    int fill = 0;
    for (size_t i = 0; i < n; ++i) {
      const int width = widths_[i / kRun];
      for (; fill < width; fill += 8) word |= static_cast<uint64_t>(*in++) << fill;
      codes[i] = static_cast<uint32_t>(word & ((uint64_t{1} << width) - 1));
      word >>= width;
      fill -= width;
    }
  }

  StepOptions options_;
  RowNoise dither_;
  bool entropy_ = false;
  SymbolCoder symbols_;
  std::vector<uint32_t> codes_;
  std::vector<uint8_t> widths_;
};

class StepSpec final : public PartSpec {
 public:
  explicit StepSpec(const StepOptions& options) : options_(options) {}
  std::string canonical() const override {
    std::string s = options_.size > 0 ? absl::StrCat("step(size=", Decimal(options_.size))
                                      : absl::StrCat("step(db=", Decimal(options_.db));
    if (options_.dither) return s + ",round=dither)";
    if (options_.rounding == Rounding::kNearest) s += ",round=nearest";
    if (options_.rounding == Rounding::kStochastic) s += ",round=stochastic";
    return s + ")";
  }
  PartTraits traits() const override { return {.takes_entropy = true}; }
  Rounding rounding() const override {
    return options_.dither ? Rounding::kNearest : options_.rounding;
  }
  std::unique_ptr<ValueFormat> MakeFormat(const EdgeShape& shape) const override {
    return std::make_unique<StepFormat>(options_, shape);
  }

 private:
  StepOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeStepPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"db", "size", "round"}));
  if (arguments.Has("db") && arguments.Has("size"))
    return InvalidArgument("codec step: expected one of db, size, got both");
  StepOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.db, arguments.Number("db", -20.0, 60.0, 20.0));
  ISTHMUS_ASSIGN_OR_RETURN(options.size, arguments.Number("size", 1e-20, 1e20, 0.0));
  ISTHMUS_ASSIGN_OR_RETURN(const int round,
                           arguments.Choice("round", {"nearest", "stochastic", "dither"}, -1));
  options.dither = round == 2;
  if (!options.dither) options.rounding = static_cast<Rounding>(round + 1);
  return std::make_shared<StepSpec>(options);
}

}  // namespace isthmus
