#include "kernels/trained_codes.h"

#include <algorithm>
#include <array>
#include <cmath>
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

// Four weights of a channel share a draw.
class Draws {
 public:
  Draws(uint64_t key, int64_t channel) : key_(key), channel_(static_cast<uint64_t>(channel)) {}
  // In [0, 1). Inputs come in order.
  float At(int64_t input) {
    if (input % 4 == 0) words_ = Philox(key_, static_cast<uint64_t>(input / 4), channel_);
    return UniformFloat(words_[static_cast<size_t>(input % 4)]);
  }

 private:
  const uint64_t key_, channel_;
  std::array<uint32_t, 4> words_{};
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
  const double inverse = std::ldexp(1.0, -exponent);
  Draws draws(key == nullptr ? 0 : *key, channel);
  int most = 0;
  for (int64_t k = 0; k < order_.in; ++k) {
    const double exact = values[k * stride] * inverse;
    const double code =
        key == nullptr ? std::nearbyint(exact) : std::floor(exact + double{draws.At(k)});
    *Code(channel, k) = static_cast<uint8_t>(static_cast<int8_t>(code));
    most = std::max(most, std::abs(static_cast<int>(code)));
  }
  // A largest value that was rounded down may leave room for one bit more.
  if (most > 0 && 2 * most <= kLargestCode && exponent > kSmallestExponent) {
    --exponent;
    for (int64_t k = 0; k < order_.in; ++k)
      *Code(channel, k) = static_cast<uint8_t>(*Code(channel, k) * 2);
  }
  scales_[channel] = most == 0 ? 0.0f : std::ldexp(1.0f, exponent);
}

}  // namespace isthmus
