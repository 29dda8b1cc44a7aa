// Token embedding and learned positions. Looked up and added by hand rather than by autograd: a
// gradient of the whole table per micro-batch (vocab_size * hidden_size floats, mostly zero) would
// be written and read for a few hundred rows.
#ifndef ISTHMUS_ENGINE_TORCH_EMBEDDING_H_
#define ISTHMUS_ENGINE_TORCH_EMBEDDING_H_

#include "engine/torch/libtorch.h"

namespace isthmus {

struct EmbeddingWeights {
  at::Tensor tokens;     // [vocab, hidden]
  at::Tensor positions;  // [max_positions, hidden]; undefined: none
};

// ids and positions [tokens] I64 -> [tokens, hidden], fp32.
at::Tensor Embed(const EmbeddingWeights& weights, const at::Tensor& ids,
                 const at::Tensor& positions);

// Adds row i of `grad` to row rows[i] of the gradient of `table`, in the order of i.
void AddRowGradients(const at::Tensor& table, const at::Tensor& rows, const at::Tensor& grad);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_EMBEDDING_H_
