#include "kernels/quantized_rows.h"

#include "kernels/scratch.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

int64_t Padded(int64_t width) { return (width + 63) / 64 * 64; }

}  // namespace

int64_t QuantizedRowsBytes(int64_t rows, int64_t width) {
  return ScratchPieces::Bytes<int8_t>(rows * Padded(width)) + ScratchPieces::Bytes<float>(rows);
}

QuantizedRowsSpace LayQuantizedRows(int64_t rows, int64_t width, absl::Span<uint8_t> storage) {
  ScratchPieces pieces(storage);
  const int64_t padded = Padded(width);
  auto* codes = pieces.Take<int8_t>(rows * padded);
  auto* scales = pieces.Take<float>(rows);
  return {codes, scales, {rows, width, padded, codes, scales}};
}

QuantizedRows QuantizeRows(const float* x, int64_t rows, int64_t width, absl::Span<uint8_t> storage,
                           ThreadPool* pool) {
  const QuantizedRowsSpace space = LayQuantizedRows(rows, width, storage);
  const int64_t padded = space.view.padded;
  const KernelTable& kernels = KernelsFor(rows);
  ParallelFor(pool, rows, [&](int64_t m, int) {
    kernels.quantize_row(x + m * width, nullptr, width, padded, width, space.codes + m * padded,
                         space.scales + m);
  });
  return space.view;
}

}  // namespace isthmus
