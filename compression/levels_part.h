// The format that codebooks and minifloats share: runs of n channels of a token with one scale.
//
//   a block: scales in bf16, in row-major order | codes, one bit stream, last byte filled with
//   zeros
#ifndef ISTHMUS_COMPRESSION_LEVELS_PART_H_
#define ISTHMUS_COMPRESSION_LEVELS_PART_H_

#include <memory>

#include "compression/levels.h"
#include "compression/part.h"

namespace isthmus {

struct LevelOptions {
  int64_t n = 64;
  // Try 12 scales from 1 down to 0.47 of the largest magnitude and keep the one with the least
  // squared error; else the largest magnitude is the largest level.
  bool search = false;
};

std::unique_ptr<ValueFormat> MakeLevelFormat(Levels levels, const LevelOptions& options);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_LEVELS_PART_H_
