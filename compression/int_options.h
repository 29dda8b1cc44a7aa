// The arguments of int(bits, group, n, round, range, sym | asym, t=, keep=, every=), alone or as
// the format of a composition.
#ifndef ISTHMUS_COMPRESSION_INT_OPTIONS_H_
#define ISTHMUS_COMPRESSION_INT_OPTIONS_H_

#include <string>

#include "absl/status/statusor.h"
#include "compression/matrix_coder.h"
#include "compression/part.h"
#include "compression/spec.h"

namespace isthmus {

struct IntOptions {
  MatrixFormat matrix;
  int64_t tile_tokens = 1;  // group=tile: tokens that share a tile
  bool running = false;     // range=running: groups of the tensor or of channels, over frames
  uint64_t every = 16;      // … steps that their table serves; 0: for ever
  Rounding rounding = Rounding::kByDirection;
};

absl::StatusOr<IntOptions> ReadIntOptions(const SpecPart& part);
std::string CanonicalInt(const IntOptions& options);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_INT_OPTIONS_H_
