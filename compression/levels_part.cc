#include "compression/levels_part.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/scratch.h"
#include "compression/symbol_coder.h"

namespace isthmus {
namespace {

constexpr int kSearchSteps = 12;
constexpr float kSearchFactor = 0.933f;

class LevelFormat final : public ValueFormat {
 public:
  LevelFormat(Levels levels, const LevelOptions& options)
      : levels_(std::move(levels)), options_(options) {
    uint8_t zero = 0;
    const float nothing = 0.0f;
    NearestLevels(levels_, &nothing, 1, 1.0f, &zero);
    zero_ = zero;
  }

  // An entropy coder's table pays for itself once a frame, not once a block.
  bool ByRow() const override { return !entropy_; }
  void UseEntropyCoder() override { entropy_ = true; }

  int64_t Encode(const PartFrame& frame, RowBlock rows, const float* x, const uint8_t*,
                 RowNoise* noise, Bytes* out) override {
    const size_t width = frame.width, tile = Tile(width), tiles = NumTiles(width, tile);
    const size_t scales_at = out->size();
    out->resize(scales_at + 2 * tiles * rows.count);
    uint8_t* codes = Room(&codes_, rows.count * width);
    size_t scale_at = scales_at;
    for (size_t r = 0; r < rows.count; ++r, x += width, codes += width) {
      const float* with =
          noise != nullptr ? noise->Row(static_cast<int64_t>(rows.first + r)) : nullptr;
      for (size_t begin = 0; begin < width; begin += tile, scale_at += 2) {
        const size_t n = std::min(tile, width - begin);
        const uint32_t magnitude = ScanExtent(x + begin, n).magnitude;
        if (magnitude > kLargestMagnitude) return -1;
        const float scale = FitScale(x + begin, n, std::bit_cast<float>(magnitude));
        const uint16_t stored = Bf16TowardZero(scale);
        std::memcpy(out->data() + scale_at, &stored, 2);
        Quantize(x + begin, n, scale, with != nullptr ? with + begin : nullptr, codes + begin);
      }
    }
    return PutCodes(rows.count, width, out);
  }

  absl::Status Decode(const PartFrame& frame, RowBlock rows, const uint8_t*, ByteReader* in,
                      float* x) override {
    const size_t width = frame.width, tile = Tile(width), tiles = NumTiles(width, tile);
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> scales,
                             in->GetBytes(2 * tiles * rows.count));
    ISTHMUS_RETURN_IF_ERROR(ReadCodes(rows.count, width, in));
    const uint8_t* codes = codes_.data();
    const uint8_t* scale_in = scales.data();
    const size_t top = levels_.values.size() - 1;
    for (size_t r = 0; r < rows.count; ++r, x += width, codes += width) {
      for (size_t begin = 0; begin < width; begin += tile, scale_in += 2) {
        const size_t n = std::min(tile, width - begin);
        uint16_t stored;
        std::memcpy(&stored, scale_in, 2);
        const float scale = FloatFromBf16(stored);
        if (!(scale >= 0.0f && scale < 0x1p127f))
          return CorruptPart("scale", "a finite one", "another");
        for (size_t i = begin; i < begin + n; ++i)
          x[i] = levels_.values[std::min<size_t>(codes[i], top)] * scale;
      }
    }
    return absl::OkStatus();
  }

 private:
  // One bit stream, or symbols: distances from the level next to zero, in levels.
  int64_t PutCodes(size_t rows, size_t width, Bytes* out) {
    const size_t n = rows * width, at = out->size();
    if (!entropy_) {
      const size_t bytes = PackedBytes(n, levels_.bits);
      out->resize(at + bytes);
      PackBits(codes_.data(), n, levels_.bits, out->data() + at);
      return static_cast<int64_t>(bytes);
    }
    uint32_t* symbols = Room(&symbols_, n);
    for (size_t i = 0; i < n; ++i) symbols[i] = ZigZag(codes_[i] - zero_);
    return coder_.Encode(symbols, nullptr, rows, width, out);
  }

  absl::Status ReadCodes(size_t rows, size_t width, ByteReader* in) {
    const size_t n = rows * width;
    uint8_t* codes = Room(&codes_, n);
    if (!entropy_) {
      ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> packed,
                               in->GetBytes(PackedBytes(n, levels_.bits)));
      UnpackBits(packed.data(), n, levels_.bits, codes);
      return absl::OkStatus();
    }
    uint32_t* symbols = Room(&symbols_, n);
    if (!coder_.Decode(in, nullptr, rows, width, symbols))
      return CorruptPart("rans", "a coded matrix", "other bytes");
    const auto top = static_cast<int32_t>(levels_.values.size()) - 1;
    bool good = true;
    for (size_t i = 0; i < n; ++i) {
      const int32_t code = zero_ + UnZigZag(symbols[i]);
      good = good && code >= 0 && code <= top;
      codes[i] = static_cast<uint8_t>(code);
    }
    return good ? absl::OkStatus() : CorruptPart("rans", "codes of levels", "others");
  }

  size_t Tile(size_t width) const { return std::min(static_cast<size_t>(options_.n), width); }
  static float Inverse(float scale) { return scale > 0.0f ? 1.0f / scale : 0.0f; }

  float FitScale(const float* x, size_t n, float largest) {
    float best = Bf16Ceiling(largest);
    if (!options_.search || best == 0.0f) return best;
    double least = SquaredErrorAt(x, n, best);
    float candidate = best;
    for (int k = 1; k < kSearchSteps; ++k) {
      candidate *= kSearchFactor;
      const float scale = Bf16Ceiling(candidate);
      const double error = SquaredErrorAt(x, n, scale);
      if (!(error < least)) continue;
      least = error;
      best = scale;
    }
    return best;
  }

  double SquaredErrorAt(const float* x, size_t n, float scale) {
    uint8_t* codes = Room(&tried_, n);
    NearestLevels(levels_, x, n, Inverse(scale), codes);
    double sum = 0.0;
    for (size_t i = 0; i < n; ++i) {
      const double error = static_cast<double>(x[i]) - levels_.values[codes[i]] * scale;
      sum += error * error;
    }
    return sum;
  }

  // Stochastic: between two levels, the upper one with the probability of the value's place.
  void Quantize(const float* x, size_t n, float scale, const float* noise, uint8_t* codes) {
    const float inverse = Inverse(scale);
    NearestLevels(levels_, x, n, inverse, codes);
    if (noise == nullptr) return;
    const std::vector<float>& values = levels_.values;
    for (size_t i = 0; i < n; ++i) {
      const float v = x[i] * inverse;
      size_t below = codes[i];
      if (values[below] > v && below > 0) --below;
      if (below + 1 == values.size() || v <= values[below]) {
        codes[i] = static_cast<uint8_t>(below);
        continue;
      }
      const float place = (v - values[below]) / (values[below + 1] - values[below]);
      codes[i] = static_cast<uint8_t>(below + (noise[i] + 0.5f < place ? 1 : 0));
    }
  }

  Levels levels_;
  LevelOptions options_;
  int32_t zero_ = 0;  // the level next to zero
  bool entropy_ = false;
  SymbolCoder coder_;
  std::vector<uint32_t> symbols_;
  std::vector<uint8_t> codes_, tried_;
};

}  // namespace

std::unique_ptr<ValueFormat> MakeLevelFormat(Levels levels, const LevelOptions& options) {
  return std::make_unique<LevelFormat>(std::move(levels), options);
}

}  // namespace isthmus
