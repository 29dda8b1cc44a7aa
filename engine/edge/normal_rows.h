// The rows behind a norm, as the maps that read them want them: in fp32, or as 8-bit integers that
// are made once, while they are normalised, for all of these maps (q, k and v; up and gate).
#ifndef ISTHMUS_ENGINE_EDGE_NORMAL_ROWS_H_
#define ISTHMUS_ENGINE_EDGE_NORMAL_ROWS_H_

#include <cstdint>
#include <initializer_list>

#include "engine/edge/linear.h"
#include "engine/edge/norm.h"
#include "engine/edge/weights.h"

namespace isthmus::edge {

// Floats of an array that holds the codes of `rows` rows, and fp32 rows at other times.
int64_t NormalCodeFloats(int64_t rows, int64_t width);

struct NormalSpace {
  float* values = nullptr;  // [rows, hidden]
  float* codes = nullptr;   // NormalCodeFloats
};

// Normalises x [rows, hidden] into `space`. fp32 is written only where one of `readers` (those that
// are null left out) reads it.
LinearInput ForwardNormFor(std::initializer_list<const Linear*> readers, const ModelConfig& config,
                           const Norm& norm, ThreadPool* pool, const float* x, int64_t rows,
                           const NormKept& kept, const NormalSpace& space);

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_NORMAL_ROWS_H_
