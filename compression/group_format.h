// One group of values that share a scale: range, stored parameters, and the affine map between
// values and codes.
//
//   asymmetric, b bits: 2^b levels lo + code * scale; stored: lo, scale (bf16 each)
//   symmetric, b >= 2:  2^b - 1 levels (code - M) * scale with M = 2^(b-1) - 1; stored: scale
//   symmetric, b = 1:   two levels -alpha, +alpha = (code - 1/2) * scale; stored: scale = 2 alpha
//
// Parameters are rounded outward when they are stored (lo down, scale up) and used as stored at
// both ends, so that with a min-max range no value clips. A group whose scale would be below 2^-126
// has range zero: scale 0, every value decodes to lo.
#ifndef ISTHMUS_COMPRESSION_GROUP_FORMAT_H_
#define ISTHMUS_COMPRESSION_GROUP_FORMAT_H_

#include <cstddef>
#include <cstdint>

namespace isthmus {

// From what values a group's range is taken:
//   kMinMax      all of them
//   kRms         mean +- k sigma, with the k of RmsFactor, inside min-max (QuEST, arXiv 2502.05003)
//   kPercentile  the given share of them, the rest clips (Quamba, arXiv 2410.13229)
//   kMse         the shrunken min-max range with the least squared error (PTQ4DM, LAPQ and others)
enum class RangeRule : uint8_t { kMinMax = 0, kRms = 1, kPercentile = 2, kMse = 3 };

struct GroupFormat {
  int bits = 8;  // 1 to 8
  bool symmetric = false;
  RangeRule range = RangeRule::kMinMax;
  float keep_percent = 99.9f;  // kPercentile

  int Top() const {
    return symmetric && bits >= 2 ? (1 << bits) - 2 : (1 << bits) - 1;
  }  // largest code
  float Centre() const {
    return symmetric ? 0.5f * static_cast<float>(Top()) : 0.0f;
  }  // the code of zero
  size_t ParameterBytes() const { return symmetric ? 2 : 4; }
};

// What a scan over the group found. `magnitude` is the largest |x| as fp32 bits: above
// kLargestMagnitude for NaN and infinity.
struct Extent {
  float lo = 0.0f;
  float hi = 0.0f;
  uint32_t magnitude = 0;
};

// code = round(clamp((x - from) * inverse + offset + noise, 0, top)); value = base + code * scale.
struct GroupParameters {
  float from = 0.0f, inverse = 0.0f, offset = 0.0f, top = 0.0f;
  float base = 0.0f, scale = 0.0f;
};

// The parameters for a range [lo, hi] (symmetric: the larger magnitude of the two).
GroupParameters FromRange(const GroupFormat& format, float lo, float hi);

// The same with the format's range rule (range_fit.cc); x is not read for min-max.
GroupParameters FitRange(const GroupFormat& format, const Extent& extent, const float* x, size_t n);

// Multiples of sigma at which a uniform quantiser of this many levels clips a Gaussian with the
// least mean squared error.
float RmsFactor(const GroupFormat& format);

void StoreParameters(const GroupFormat& format, const GroupParameters& parameters, uint8_t* out);
// False when what is stored cannot have been written by StoreParameters (not finite, negative
// scale, values beyond fp32).
bool LoadParameters(const GroupFormat& format, const uint8_t* in, GroupParameters* out);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_GROUP_FORMAT_H_
