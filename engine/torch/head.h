// Final norm, output head and loss.
//
// Logits are never kept whole: they are computed, turned into the loss and into their own gradient
// in runs of rows of at most 64 MB. loss_scale is known in the forward pass, so the gradient of the
// normalised hidden state is ready when it ends; with a frozen head nothing of vocabulary width
// outlives a run. A trained head keeps the gradient of the logits until Backward adds it up.
#ifndef ISTHMUS_ENGINE_TORCH_HEAD_H_
#define ISTHMUS_ENGINE_TORCH_HEAD_H_

#include <vector>

#include "engine/stage.h"
#include "engine/torch/block.h"
#include "engine/torch/libtorch.h"

namespace isthmus {

struct HeadWeights {
  NormWeights norm;
  at::Tensor weight;  // [vocab, hidden]
};

// What the backward pass of one micro-batch needs.
struct HeadActivations {
  at::Tensor in;                        // leaf [tokens, hidden]
  at::Tensor normal;                    // norm(in) with its graph
  at::Tensor grad_normal;               // [tokens, hidden]; frozen head
  at::Tensor rows;                      // [predicted] I64: rows that are predicted; undefined: all
  std::vector<at::Tensor> grad_logits;  // runs of rows, [n, vocab]; trained head
  int64_t bytes() const;
};

class Head {
 public:
  Head(const ModelConfig& config, HeadWeights weights, at::ScalarType compute);

  // Loss of x [tokens, hidden] into `out`. `kept` null: evaluation.
  void Forward(const MicroBatch& mb, const at::Tensor& x, StageOutput* out,
               HeadActivations* kept) const;
  // Adds the gradients of norm and head; returns that of x.
  at::Tensor Backward(HeadActivations kept) const;
  // Logits of the last row, [vocab], fp32.
  at::Tensor LastLogits(const at::Tensor& x) const;

 private:
  at::Tensor Loss(const MicroBatch& mb, const at::Tensor& normal, StageOutput* out,
                  HeadActivations* kept) const;

  const ModelConfig config_;
  const HeadWeights weights_;
  const at::ScalarType compute_;
};

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_HEAD_H_
