#include "kernels/trained_codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/rng.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr int kLargestCode = 127;
// A scale below it would not be a normal number.
constexpr int kSmallestExponent = -126;

// The exponent of the scale of a channel with this largest magnitude, which is finite and above 0.
int ExponentFor(float largest) {
  int exponent = 0;
  std::frexp(largest, &exponent);  // largest / 2^(exponent - 7) is in [64, 128)
  exponent -= 7;
  if (std::ldexp(static_cast<double>(largest), -exponent) > kLargestCode) ++exponent;
  return std::max(exponent, kSmallestExponent);
}

// A channel's values in units of its scale, four inputs at a time: they are neighbours in the
// packed layout, and share a draw.
struct Quad {
  std::array<double, 4> exact;  // at most 127 in magnitude
  std::array<int, 4> codes;
  int count = 0;

  void ToNearest() {
    for (int i = 0; i < count; ++i) codes[i] = static_cast<int>(std::nearbyint(exact[i]));
  }
  // Most rows of an embedding do not move in a step: whole numbers need no draw.
  void AtRandom(uint64_t key, int64_t channel, int64_t input) {
    bool whole = true;
    for (int i = 0; i < count; ++i) {
      codes[i] = static_cast<int>(exact[i]);
      whole = whole && codes[i] == exact[i];
    }
    if (whole) return;
    const std::array<uint32_t, 4> words =
        Philox(key, static_cast<uint64_t>(input / 4), static_cast<uint64_t>(channel));
    // Positive, so that cutting the fraction off rounds down.
    constexpr int kShift = kLargestCode + 1;
    for (int i = 0; i < count; ++i)
      codes[i] = static_cast<int>(exact[i] + double{UniformFloat(words[i])} + kShift) - kShift;
  }
};

}  // namespace

TrainedCodes::TrainedCodes(uint8_t* bytes, const StoredOrder& order) : order_(order) {
  const PackedLayout layout = LayoutOf(kSpec, order.out, order.in);
  std::memset(bytes, 0, static_cast<size_t>(layout.total_bytes));
  absl::StatusOr<PackedMatrix> view =
      PackedMatrix::View({bytes, static_cast<size_t>(layout.total_bytes)}, order.out, order.in,
                         kSpec, /*owner=*/nullptr);
  ISTHMUS_CHECK(view.ok());
  matrix_ = *std::move(view);
  codes_ = bytes;
  scales_ = reinterpret_cast<float*>(bytes + layout.scale_offset);
}

uint8_t* TrainedCodes::Code(int64_t channel, int64_t input) const {
  return codes_ + channel / kPanel * matrix_.view().panel_bytes + input / 4 * (kPanel * 4) +
         channel % kPanel * 4 + input % 4;
}

int64_t TrainedCodes::Begin(int64_t channel) const {
  return order_.transposed ? channel : channel * order_.in;
}

void TrainedCodes::Read(int64_t first, int64_t count, float* values) const {
  const int64_t width = order_.transposed ? order_.out : order_.in;
  int64_t row = first / width, column = first % width;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t channel = order_.transposed ? column : row;
    const auto code = static_cast<int8_t>(*Code(channel, order_.transposed ? row : column));
    values[i] = scales_[channel] * static_cast<float>(code);
    if (++column < width) continue;
    column = 0;
    ++row;
  }
}

absl::Status TrainedCodes::Write(const float* values) {
  for (int64_t i = 0; i < order_.out * order_.in; ++i) {
    if (!std::isfinite(values[i]))
      return InvalidArgument("weight matrix: expected finite values, got ", values[i]);
  }
  for (int64_t channel = 0; channel < order_.out; ++channel)
    WriteChannel(channel, values + Begin(channel), nullptr);
  return absl::OkStatus();
}

void TrainedCodes::WriteAtRandom(const float* values, uint64_t key) {
  for (int64_t channel = 0; channel < order_.out; ++channel)
    WriteChannel(channel, values + Begin(channel), &key);
}

void TrainedCodes::WriteChannel(int64_t channel, const float* values, const uint64_t* key) {
  const int64_t stride = Stride();
  float largest = 0.0f;
  bool finite = true;
  for (int64_t k = 0; k < order_.in; ++k) {
    const float magnitude = std::fabs(values[k * stride]);
    finite = finite && std::isfinite(magnitude);
    largest = std::max(largest, magnitude);
  }
  if (!finite || largest == 0.0f) {
    scales_[channel] = finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    for (int64_t k = 0; k < order_.in; ++k) *Code(channel, k) = 0;
    return;
  }
  int exponent = ExponentFor(largest);
  const int most = WriteCodes(channel, values, std::ldexp(1.0, -exponent), key);
  // A largest value that was rounded down may leave room for one bit more.
  if (most > 0 && 2 * most <= kLargestCode && exponent > kSmallestExponent) {
    --exponent;
    for (int64_t k = 0; k < order_.in; ++k) {
      uint8_t* code = Code(channel, k);
      *code = static_cast<uint8_t>(*code * 2);
    }
  }
  scales_[channel] = most == 0 ? 0.0f : std::ldexp(1.0f, exponent);
}

int TrainedCodes::WriteCodes(int64_t channel, const float* values, double inverse,
                             const uint64_t* key) {
  const int64_t stride = Stride();
  int most = 0;
  Quad quad;
  for (int64_t k = 0; k < order_.in; k += 4) {
    quad.count = static_cast<int>(std::min<int64_t>(4, order_.in - k));
    for (int i = 0; i < quad.count; ++i) quad.exact[i] = values[(k + i) * stride] * inverse;
    if (key == nullptr) {
      quad.ToNearest();
    } else {
      quad.AtRandom(*key, channel, k);
    }
    uint8_t* code = Code(channel, k);
    for (int i = 0; i < quad.count; ++i) {
      code[i] = static_cast<uint8_t>(quad.codes[i]);
      most = std::max(most, std::abs(quad.codes[i]));
    }
  }
  return most;
}

}  // namespace isthmus
