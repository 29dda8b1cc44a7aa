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

QuantizedRows QuantizeRows(const float* x, int64_t rows, int64_t width, absl::Span<uint8_t> storage,
                           ThreadPool* pool) {
  ScratchPieces pieces(storage);
  const int64_t padded = Padded(width);
  auto* codes = pieces.Take<int8_t>(rows * padded);
  auto* scales = pieces.Take<float>(rows);
  const KernelTable& kernels = KernelsFor(rows);
  ParallelFor(pool, rows, [&](int64_t m, int) {
    kernels.quantize_row(x + m * width, nullptr, width, padded, width, codes + m * padded,
                         scales + m);
  });
  return {rows, width, padded, codes, scales};
}

}  // namespace isthmus
