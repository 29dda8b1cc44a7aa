// A frozen weight matrix W [out, in] in one of the formats of weight_format.h, laid out for the
// products of matmul.h: y = x W^T and, from the same bytes, dx = dy W.
//
// The bytes are owned, or lie in a file that is memory-mapped and shared between processes: they
// are position-independent, and View checks their number, not their values (any values are safe to
// multiply with). Immutable; copies share the bytes; any thread.
#ifndef ISTHMUS_KERNELS_PACKED_MATRIX_H_
#define ISTHMUS_KERNELS_PACKED_MATRIX_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/packed_layout.h"
#include "kernels/quantize_weights.h"
#include "kernels/weight_format.h"

namespace isthmus {

class PackedMatrix {
 public:
  PackedMatrix() = default;  // 0 x 0; only assignment

  // Packs row-major fp32 weights [out, in], rounding to nearest. kInvalidArgument: sizes that are
  // not positive or do not match, a group other than 32, 64, 128 where the format has groups, a
  // weight that is not finite.
  static absl::StatusOr<PackedMatrix> Pack(absl::Span<const float> weights, int64_t out, int64_t in,
                                           const WeightFormatSpec& spec);
  // Packs codes that were chosen elsewhere (a calibrated quantiser): one ChannelCodes per output
  // channel, formats of 8 and 4 bits. Sizes must fit (CHECK).
  static PackedMatrix FromCodes(absl::Span<const ChannelCodes> channels, int64_t in,
                                const WeightFormatSpec& spec);
  // Bytes that Pack made earlier; `owner` keeps them alive. They must begin at a multiple of 64
  // bytes and be exactly PackedBytes long: kInvalidArgument otherwise.
  static absl::StatusOr<PackedMatrix> View(absl::Span<const uint8_t> bytes, int64_t out, int64_t in,
                                           const WeightFormatSpec& spec,
                                           std::shared_ptr<const void> owner);
  // What such a matrix takes; kInvalidArgument as Pack.
  static absl::StatusOr<int64_t> PackedBytes(int64_t out, int64_t in, const WeightFormatSpec& spec);

  int64_t out() const { return view_.out; }
  int64_t in() const { return view_.in; }
  const WeightFormatSpec& spec() const { return spec_; }
  absl::Span<const uint8_t> bytes() const { return bytes_; }
  const PackedView& view() const { return view_; }

  // Rows first .. first + rows - 1 of W as fp32, row-major [rows, in]: an embedding's look-up, a
  // reference for tests. Slow beside the products.
  void Dequantize(int64_t first, int64_t rows, float* weights) const;
  float At(int64_t out, int64_t in) const;

 private:
  void Attach(const WeightFormatSpec& spec, int64_t out, int64_t in);
  void FitBackwardScales();

  WeightFormatSpec spec_;
  PackedView view_;
  absl::Span<const uint8_t> bytes_;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const float[]> backward_scales_;
};

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_PACKED_MATRIX_H_
