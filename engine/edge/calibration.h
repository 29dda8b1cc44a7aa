// A packed model whose codes are chosen by what its matrices read: error feedback over calibration
// text (kernels/calibrated_rounding.h), block after block.
//
// The text runs through the blocks that are packed already, as their codes restore them, in fp32.
// Within a block the maps come in order too: query, key and value (fused or not), the attention's
// output, the feed-forward part's first maps, its last; what a map reads has the errors of those in
// front of it. Embedding and head are rounded to nearest.
//
// Memory: one block in fp32, one matrix of inputs x inputs in double twice, and the text's hidden
// state, positions x hidden floats.
#ifndef ISTHMUS_ENGINE_EDGE_CALIBRATION_H_
#define ISTHMUS_ENGINE_EDGE_CALIBRATION_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/weight_format.h"
#include "model/dataset.h"

namespace isthmus {

// Of one matrix: the squared error of its output over the output's own square, on the calibration
// text.
struct CalibratedMatrix {
  std::string name;
  double nearest_error = 0.0;  // rounded to nearest
  double error = 0.0;          // as packed
};

struct CalibrationOptions {
  std::vector<Window> windows;
  int threads = 1;  // does not show in the result
  std::function<void(int64_t blocks_done, int64_t blocks)> progress = {};
};

// Packs the model directory `from` into the new folder `out`; what came of each matrix of the
// blocks, in the model's order. kInvalidArgument for a format of more than 8 bits, a model that
// cannot be read, an `out` in use, ids outside the vocabulary, windows longer than the model's
// context or none at all.
absl::StatusOr<std::vector<CalibratedMatrix>> QuantizeModelCalibrated(
    const std::string& from, const std::string& out, const WeightFormatSpec& spec,
    const CalibrationOptions& options);

// At most `positions` of them, whole windows from all over the text.
std::vector<Window> SpreadWindows(const std::vector<Window>& windows, int64_t positions);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_EDGE_CALIBRATION_H_
