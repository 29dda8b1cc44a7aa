// Final norm, output head and loss.
//
// Logits exist for a run of predicted rows at a time. loss_scale is known in the forward pass, so
// with a frozen head the gradient of the hidden state is ready when it ends and is all that is
// kept; a trained head keeps the hidden state and computes the logits again in the backward pass.
#ifndef ISTHMUS_ENGINE_EDGE_HEAD_H_
#define ISTHMUS_ENGINE_EDGE_HEAD_H_

#include <cstdint>
#include <vector>

#include "engine/edge/linear.h"
#include "engine/edge/memory.h"
#include "engine/edge/norm.h"
#include "engine/edge/weights.h"
#include "engine/stage.h"

namespace isthmus::edge {

struct HeadKept {
  float* rows = nullptr;  // [tokens, hidden]: gradient of the input, or the input
  std::vector<int32_t> lengths, targets;
  double loss_scale = 1.0;
};

// Space for one run of rows.
struct HeadWork {
  float *in = nullptr, *normal = nullptr, *grad = nullptr;  // [run, hidden]
  float* logits = nullptr;                                  // [run, vocabulary]
  NormKept norm;
  LinearWork linear;
  static HeadWork Carve(Carver* carver, const Weights& weights, int threads);
};

class Head {
 public:
  Head(const Weights* weights, ThreadPool* pool) : weights_(weights), pool_(pool) {}

  // Loss of x [tokens, hidden] into `out`. `kept` null: evaluation; else kept->rows has room.
  void Forward(const MicroBatch& mb, const float* x, const HeadWork& work, StageOutput* out,
               HeadKept* kept) const;
  // Gradient of x into `grad` [tokens, hidden]; adds those of a trained head and norm.
  void Backward(const HeadKept& kept, const HeadWork& work, float* grad) const;
  // Logits of one row.
  void Logits(const float* x, const HeadWork& work, float* logits) const;

  // Rows of logits at a time: 4 MB of them, so that a client of a model with a large vocabulary
  // needs no more.
  static int64_t RunRows(const ModelConfig& config);

 private:
  struct Run;
  LinearInput Normalize(const float* x, const Run& run, const HeadWork& work) const;
  LinearInput Normal(const float* x, int64_t rows, const HeadWork& work) const;
  void RunGradient(const Run& run, const HeadWork& work, float* grad) const;
  bool is_trained() const { return weights_->head().weight.gradient != nullptr; }

  const Weights* const weights_;
  ThreadPool* const pool_;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_HEAD_H_
