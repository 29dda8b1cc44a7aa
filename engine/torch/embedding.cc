#include "engine/torch/embedding.h"

namespace isthmus {

at::Tensor Embed(const EmbeddingWeights& weights, const at::Tensor& ids,
                 const at::Tensor& positions) {
  at::Tensor x = at::index_select(weights.tokens, 0, ids).to(at::kFloat);
  if (weights.positions.defined()) x.add_(at::index_select(weights.positions, 0, positions));
  return x;
}

void AddRowGradients(const at::Tensor& table, const at::Tensor& rows, const at::Tensor& grad) {
  at::Tensor& sum = const_cast<at::Tensor&>(table).mutable_grad();
  if (!sum.defined()) sum = at::zeros_like(table);
  if (!sum.is_cpu()) {
    // Sorts the rows first: unlike atomic additions the result does not depend on the order of
    // threads.
    sum.index_put_({rows}, grad, /*accumulate=*/true);
    return;
  }
  // LibTorch adds rows in parallel with atomics here, in any order.
  const at::Tensor values = grad.contiguous();
  const int64_t width = values.size(1);
  const int64_t* row = rows.data_ptr<int64_t>();
  const float* in = values.data_ptr<float>();
  float* out = sum.data_ptr<float>();
  for (int64_t i = 0; i < values.size(0); ++i, in += width) {
    float* to = out + row[i] * width;
    for (int64_t j = 0; j < width; ++j) to[j] += in[j];
  }
}

}  // namespace isthmus
