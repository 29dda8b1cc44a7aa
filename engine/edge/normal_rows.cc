#include "engine/edge/normal_rows.h"

#include <algorithm>

namespace isthmus::edge {

int64_t NormalCodeFloats(int64_t rows, int64_t width) {
  return std::max(rows * width, (QuantizedRowsBytes(rows, width) + 3) / 4);
}

LinearInput ForwardNormFor(std::initializer_list<const Linear*> readers, const ModelConfig& config,
                           const Norm& norm, ThreadPool* pool, const float* x, int64_t rows,
                           const NormKept& kept, const NormalSpace& space) {
  bool floats = false, codes = false;
  for (const Linear* reader : readers) {
    floats = floats || (reader != nullptr && ReadsFloats(*reader));
    codes = codes || (reader != nullptr && ReadsCodes(*reader));
  }
  LinearInput input;
  if (floats) input.values = space.values;
  if (!codes) {
    ForwardNorm(config, norm, pool, x, rows, space.values, kept);
    return input;
  }
  const QuantizedRowsSpace laid = LayQuantizedRows(
      rows, config.hidden_size,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(space.codes),
                     static_cast<size_t>(NormalCodeFloats(rows, config.hidden_size) * 4)));
  ForwardNormQuantized(config, norm, pool, x, rows, floats ? space.values : nullptr, kept,
                       {laid.codes, laid.scales, laid.view.padded});
  input.codes = laid.view;
  return input;
}

}  // namespace isthmus::edge
