#include "kernels/code_descent.h"

namespace isthmus {
namespace {

// Every code with the others fixed; whether any changed.
bool Pass(const float* gram, int64_t group, absl::Span<const GroupGrid> grids,
          absl::Span<float> pull, absl::Span<uint8_t> codes) {
  const int64_t in = static_cast<int64_t>(codes.size());
  bool changed = false;
  for (int64_t i = 0; i < in; ++i) {
    const float* row = gram + i * in;
    if (!(row[i] > 0.0f)) continue;
    const GroupGrid& grid = grids[i / group];
    const float value = grid.ValueOf(codes[i]);
    const uint8_t code = grid.CodeOf(value + pull[i] / row[i]);
    const float step = grid.ValueOf(code) - value;
    // The nearest code is never worse, but in fp32 a tie would go to and fro.
    if (step * (step * row[i] - 2.0f * pull[i]) >= 0.0f) continue;
    codes[i] = code;
    changed = true;
    for (int64_t k = 0; k < in; ++k) pull[k] -= step * row[k];
  }
  return changed;
}

}  // namespace

void DescendCodes(const float* gram, int64_t group, absl::Span<const GroupGrid> grids, int passes,
                  absl::Span<float> pull, absl::Span<uint8_t> codes) {
  while (passes-- > 0 && Pass(gram, group, grids, pull, codes)) {
  }
}

}  // namespace isthmus
