#include "kernels/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "base/check.h"
#include "base/status.h"

namespace isthmus {
namespace {

absl::Status CheckShape(int64_t out, int64_t in, const WeightFormatSpec& spec) {
  // 2^24 a side keeps every product of sizes within 64 bits and every index within 32.
  constexpr int64_t kMaxSide = int64_t{1} << 24;
  if (out < 1 || in < 1 || out > kMaxSide || in > kMaxSide) {
    return InvalidArgument("weight matrix: expected sides from 1 to ", kMaxSide, ", got ", out,
                           " x ", in);
  }
  const bool known = spec.group == 32 || spec.group == 64 || spec.group == 128;
  if (HasGroups(spec.format) ? !known : spec.group != 0) {
    return InvalidArgument("weight matrix: expected groups of 32, 64 or 128 where the format has ",
                           "groups, got ", spec.group, " (", WeightFormatText(spec), ")");
  }
  return absl::OkStatus();
}

std::shared_ptr<uint8_t[]> AlignedBytes(int64_t bytes) {
  constexpr std::align_val_t kLine{64};
  auto* p = static_cast<uint8_t*>(::operator new[](static_cast<size_t>(bytes), kLine));
  std::memset(p, 0, static_cast<size_t>(bytes));
  return std::shared_ptr<uint8_t[]>(p, [](uint8_t* q) { ::operator delete[](q, kLine); });
}

// Where the code of (channel, input) lies: byte, and for 4 bits which nibble.
int64_t CodeByte(const PackedView& view, int bits, int64_t channel, int64_t input) {
  const int64_t panel = channel / kPanel * view.panel_bytes;
  const int64_t lane = (channel % kPanel) * 4;
  if (bits == 4) return panel + input / 8 * (kPanel * 4) + lane + input % 4;
  const int64_t per_lane = 32 / bits;
  return panel + input / per_lane * (kPanel * 4) + lane + input % per_lane * (bits / 8);
}

int64_t GroupIndex(const PackedView& view, int64_t channel, int64_t group) {
  return (channel / kPanel * view.groups + group) * kPanel + channel % kPanel;
}

// What padding decodes to 0 with: 8 for int4, the table's 0 otherwise; progressive has zero points
// of 0 there.
uint8_t ZeroCode(WeightFormat format) {
  if (format == WeightFormat::kInt4Group) return 8;
  if (format == WeightFormat::kNf4Group) return 7;
  return 0;
}

}  // namespace

absl::StatusOr<int64_t> PackedMatrix::PackedBytes(int64_t out, int64_t in,
                                                  const WeightFormatSpec& spec) {
  ISTHMUS_RETURN_IF_ERROR(CheckShape(out, in, spec));
  return LayoutOf(spec, out, in).total_bytes;
}

void PackedMatrix::Attach(const WeightFormatSpec& spec, int64_t out, int64_t in) {
  const PackedLayout layout = LayoutOf(spec, out, in);
  const uint8_t* base = bytes_.data();
  spec_ = spec;
  view_.format = spec.format;
  view_.group = spec.group;
  view_.out = out;
  view_.in = in;
  view_.out_padded = layout.out_padded;
  view_.in_padded = layout.in_padded;
  view_.groups = layout.groups;
  view_.panel_bytes = layout.panel_bytes;
  view_.codes = base;
  const bool channel_scales = !HasGroups(spec.format) || spec.format == WeightFormat::kProgressive4;
  if (CodeBits(spec.format) > 8) return;
  if (channel_scales) {
    view_.channel_scales = reinterpret_cast<const float*>(base + layout.scale_offset);
  } else {
    view_.scales = reinterpret_cast<const uint16_t*>(base + layout.scale_offset);
  }
  if (spec.format == WeightFormat::kProgressive4) {
    view_.level2 = base + layout.level2_offset;
    view_.zeros = base + layout.zero_offset;
  }
}

// The transposed product sums over channels, whose scales differ, and over integers. It takes out
// of each channel one scale that turns the weights into 8-bit codes: the channel's own one (int8,
// progressive: exact), or the largest group scale x the largest code / 127 (group formats: their
// codes are rounded to 8 bits once more, an error 1/16 of int4's own).
void PackedMatrix::FitBackwardScales() {
  if (!IsIntegerFormat(spec_.format)) return;
  if (view_.channel_scales != nullptr) {
    view_.backward_scales = view_.channel_scales;
    return;
  }
  const float levels = spec_.format == WeightFormat::kInt4Group ? 8.0f / 127.0f : 1.0f;
  std::shared_ptr<float[]> scales(new float[static_cast<size_t>(view_.out_padded)]);
  for (int64_t channel = 0; channel < view_.out_padded; ++channel) {
    float largest = 0.0f;
    for (int64_t g = 0; g < view_.groups; ++g) {
      const float scale = std::fabs(FloatOfBf16(view_.scales[GroupIndex(view_, channel, g)]));
      largest = std::max(largest, scale);
    }
    scales[channel] = largest * levels;
  }
  backward_scales_ = scales;
  view_.backward_scales = backward_scales_.get();
}

absl::StatusOr<PackedMatrix> PackedMatrix::View(absl::Span<const uint8_t> bytes, int64_t out,
                                                int64_t in, const WeightFormatSpec& spec,
                                                std::shared_ptr<const void> owner) {
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t expected, PackedBytes(out, in, spec));
  if (static_cast<int64_t>(bytes.size()) != expected) {
    return InvalidArgument("packed matrix: expected ", expected, " bytes for ", out, " x ", in,
                           " in ", WeightFormatText(spec), ", got ", bytes.size());
  }
  if (reinterpret_cast<uintptr_t>(bytes.data()) % 64 != 0) {
    return InvalidArgument("packed matrix: expected bytes that begin at a multiple of 64");
  }
  PackedMatrix matrix;
  matrix.bytes_ = bytes;
  matrix.owner_ = std::move(owner);
  matrix.Attach(spec, out, in);
  matrix.FitBackwardScales();
  return matrix;
}

PackedMatrix PackedMatrix::FromCodes(absl::Span<const ChannelCodes> channels, int64_t in,
                                     const WeightFormatSpec& spec) {
  const int64_t out = static_cast<int64_t>(channels.size());
  const PackedLayout layout = LayoutOf(spec, out, in);
  std::shared_ptr<uint8_t[]> owned = AlignedBytes(layout.total_bytes);
  PackedMatrix matrix;
  matrix.bytes_ = {owned.get(), static_cast<size_t>(layout.total_bytes)};
  matrix.owner_ = owned;
  matrix.Attach(spec, out, in);
  const PackedView& view = matrix.view_;
  const int bits = CodeBits(spec.format);
  const uint8_t zero = ZeroCode(spec.format);
  std::memset(owned.get(), bits == 4 ? zero * 17 : zero, static_cast<size_t>(layout.scale_offset));
  auto* scales = owned.get() + layout.scale_offset;
  for (int64_t n = 0; n < out; ++n) {
    const ChannelCodes& channel = channels[n];
    ISTHMUS_CHECK(static_cast<int64_t>(channel.codes.size()) == in);
    for (int64_t k = 0; k < in; ++k) {
      uint8_t& byte = owned[CodeByte(view, bits, n, k)];
      if (bits == 8) {
        byte = channel.codes[k];
      } else {
        const int shift = k % 8 < 4 ? 0 : 4;
        byte = static_cast<uint8_t>((byte & ~(15 << shift)) | ((channel.codes[k] & 15) << shift));
      }
    }
    if (view.channel_scales != nullptr) {
      reinterpret_cast<float*>(scales)[n] = channel.scales[0];
    } else {
      for (int64_t g = 0; g < view.groups; ++g) {
        reinterpret_cast<uint16_t*>(scales)[GroupIndex(view, n, g)] =
            Bf16OfFloat(channel.scales[g]);
      }
    }
    if (spec.format != WeightFormat::kProgressive4) continue;
    for (int64_t g = 0; g < view.groups; ++g) {
      owned[layout.level2_offset + GroupIndex(view, n, g)] = channel.level2[g];
      owned[layout.zero_offset + GroupIndex(view, n, g)] = channel.zeros[g];
    }
    // A ragged channel's padding decodes to 0 too.
    for (int64_t k = in; k < view.in_padded; ++k) {
      uint8_t& byte = owned[CodeByte(view, bits, n, k)];
      const int64_t g = std::min(k / spec.group, view.groups - 1);
      const int shift = k % 8 < 4 ? 0 : 4;
      byte = static_cast<uint8_t>((byte & ~(15 << shift)) | ((channel.zeros[g] & 15) << shift));
    }
  }
  matrix.FitBackwardScales();
  return matrix;
}

absl::StatusOr<PackedMatrix> PackedMatrix::Pack(absl::Span<const float> weights, int64_t out,
                                                int64_t in, const WeightFormatSpec& spec) {
  ISTHMUS_RETURN_IF_ERROR(CheckShape(out, in, spec));
  if (static_cast<int64_t>(weights.size()) != out * in) {
    return InvalidArgument("weight matrix: expected ", out * in, " values for ", out, " x ", in,
                           ", got ", weights.size());
  }
  for (float v : weights) {
    if (!std::isfinite(v)) return InvalidArgument("weight matrix: expected finite values, got ", v);
  }
  if (CodeBits(spec.format) <= 8) {
    std::vector<ChannelCodes> channels;
    for (int64_t n = 0; n < out; ++n) {
      channels.push_back(QuantizeChannel(weights.subspan(n * in, in), spec));
    }
    return FromCodes(channels, in, spec);
  }
  const PackedLayout layout = LayoutOf(spec, out, in);
  std::shared_ptr<uint8_t[]> owned = AlignedBytes(layout.total_bytes);
  PackedMatrix matrix;
  matrix.bytes_ = {owned.get(), static_cast<size_t>(layout.total_bytes)};
  matrix.owner_ = owned;
  matrix.Attach(spec, out, in);
  for (int64_t n = 0; n < out; ++n) {
    for (int64_t k = 0; k < in; ++k) {
      const float v = weights[n * in + k];
      uint8_t* at = owned.get() + CodeByte(matrix.view_, CodeBits(spec.format), n, k);
      if (spec.format == WeightFormat::kF32) {
        std::memcpy(at, &v, 4);
      } else {
        const uint16_t half = Bf16OfFloat(v);
        std::memcpy(at, &half, 2);
      }
    }
  }
  return matrix;
}

float PackedMatrix::At(int64_t channel, int64_t input) const {
  const int bits = CodeBits(spec_.format);
  const uint8_t* at = view_.codes + CodeByte(view_, bits, channel, input);
  if (bits == 32) {
    float v;
    std::memcpy(&v, at, 4);
    return v;
  }
  if (bits == 16) {
    uint16_t half;
    std::memcpy(&half, at, 2);
    return FloatOfBf16(half);
  }
  const uint8_t code = bits == 8 ? *at : (*at >> (input % 8 < 4 ? 0 : 4)) & 15;
  const int64_t group = view_.group > 0 ? GroupIndex(view_, channel, input / view_.group) : 0;
  if (spec_.format == WeightFormat::kProgressive4) {
    const auto q =
        static_cast<int8_t>(code * view_.level2[group] - view_.zeros[group] * view_.level2[group]);
    return static_cast<float>(q) * view_.channel_scales[channel];
  }
  const float scale =
      view_.scales != nullptr ? FloatOfBf16(view_.scales[group]) : view_.channel_scales[channel];
  return ValueOf(code, scale, spec_.format);
}

void PackedMatrix::Dequantize(int64_t first, int64_t rows, float* weights) const {
  ISTHMUS_CHECK(first >= 0 && rows >= 0 && first + rows <= view_.out);
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = 0; k < view_.in; ++k) weights[n * view_.in + k] = At(first + n, k);
  }
}

}  // namespace isthmus
