// A linear map of a block, forward and backward: the frozen or trained matrix, its bias, and its
// adapter (LoRA: Hu et al., 2021, arXiv 2106.09685).
#ifndef ISTHMUS_ENGINE_EDGE_LINEAR_H_
#define ISTHMUS_ENGINE_EDGE_LINEAR_H_

#include <cstdint>

#include "engine/dropout_key.h"
#include "engine/edge/memory.h"
#include "engine/edge/weights.h"
#include "kernels/parallel.h"
#include "kernels/quantized_rows.h"

namespace isthmus::edge {

// Work space for one map at a time over up to `tokens` rows.
struct LinearWork {
  uint8_t* product = nullptr;  // of the matrix kernels
  int64_t product_bytes = 0;
  bool bf16 = false;          // products of bf16 weights round their other side, too
  float* low = nullptr;       // [tokens, rank]
  float* grad_low = nullptr;  // [tokens, rank]
  float* dropped = nullptr;   // [tokens, in], where there is dropout
  float* mask = nullptr;      // the same
  static LinearWork Carve(Carver* carver, const Weights& weights, int64_t tokens, int threads);
};

struct LinearContext {
  ThreadPool* pool = nullptr;
  const DropoutKey* dropout = nullptr;  // null: none
  const LinearWork* work = nullptr;
};

// Rows that maps read: in fp32, and as 8-bit integers where codes.rows is not 0. Both are of the
// same rows; what no map reads (ReadsFloats, ReadsCodes) may be missing.
struct LinearInput {
  LinearInput() = default;
  LinearInput(const float* x) : values(x) {}
  const float* values = nullptr;  // [rows, in]
  QuantizedRows codes;
};

// An integer product wants codes, and makes them itself where there are none; everything else,
// adapters and gradients of trained matrices included, wants fp32.
bool ReadsCodes(const Linear& linear);
bool ReadsFloats(const Linear& linear);

// y [rows, out] = the map of x [rows, in]; `add`: y += the map.
void Apply(const Linear& linear, const LinearContext& context, const LinearInput& x, int64_t rows,
           float* y, bool add = false);

// Adds the gradients of the map's trained tensors, given its input x and the gradient dy of its
// output, and writes that of x to `dx` (`add`: adds it) unless dx is null.
void ApplyGradient(const Linear& linear, const LinearContext& context, const float* x,
                   const float* dy, int64_t rows, float* dx, bool add);

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_LINEAR_H_
