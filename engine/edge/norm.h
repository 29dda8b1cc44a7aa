// The model's kind of norm over the rows of a micro-batch.
#ifndef ISTHMUS_ENGINE_EDGE_NORM_H_
#define ISTHMUS_ENGINE_EDGE_NORM_H_

#include <algorithm>
#include <cstdint>

#include "engine/edge/memory.h"
#include "engine/edge/weights.h"
#include "kernels/norm.h"
#include "kernels/parallel.h"

namespace isthmus::edge {

// Per row: 1 / deviation, and the mean where the norm has one.
struct NormKept {
  float* inverse = nullptr;
  float* mean = nullptr;
  static NormKept Carve(Carver* carver, const ModelConfig& config, int64_t tokens);
};

// Calls body(first, count) for runs of rows, shared out over the pool.
template <typename Body>
void ForRows(ThreadPool* pool, int64_t rows, Body&& body) {
  constexpr int64_t kRun = 16;
  ParallelFor(pool, (rows + kRun - 1) / kRun,
              [&](int64_t run, int) { body(run * kRun, std::min(kRun, rows - run * kRun)); });
}

void ForwardNorm(const ModelConfig& config, const Norm& norm, ThreadPool* pool, const float* x,
                 int64_t rows, float* y, const NormKept& kept);
// The same as 8-bit integers (kernels/norm.h); y is written unless it is null.
void ForwardNormQuantized(const ModelConfig& config, const Norm& norm, ThreadPool* pool,
                          const float* x, int64_t rows, float* y, const NormKept& kept,
                          const kernels::CodeRows& codes);
void ForwardNormAgain(const ModelConfig& config, const Norm& norm, ThreadPool* pool, const float* x,
                      int64_t rows, const NormKept& kept, float* y);
// Adds the gradient of x to dx, and those of trained weights.
void BackwardNorm(const ModelConfig& config, const Norm& norm, ThreadPool* pool, const float* x,
                  int64_t rows, const NormKept& kept, const float* dy, float* dx);

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_NORM_H_
