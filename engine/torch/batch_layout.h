// Where the rows of a micro-batch stand: everything that attention needs to know of sample borders,
// built once per micro-batch shape and shared by all blocks of a stage.
//
// Rows are packed [tokens, width], samples one after the other. Only attention sees a rectangle
// [samples, longest, ...]: rows are copied into it, the right end of short samples is zero. Those
// rows are behind every real one, so that the causal mask keeps them away from real rows, and they
// are dropped on the way out.
#ifndef ISTHMUS_ENGINE_TORCH_BATCH_LAYOUT_H_
#define ISTHMUS_ENGINE_TORCH_BATCH_LAYOUT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/torch/libtorch.h"
#include "model/config.h"

namespace isthmus {

struct BatchLayout {
  int64_t samples = 0;
  int64_t longest = 0;
  int64_t tokens = 0;
  bool ragged = false;
  at::Tensor rows;       // [tokens] I64, ragged only: row of each token in the rectangle
  at::Tensor positions;  // [tokens] I64, learned positions only
  at::Tensor cos, sin;   // [tokens, 1, head_dim], rotary only; `sin` as Rotate wants it
  at::Tensor
      mask;  // [1, query heads per kv head * longest, longest]: 0 or -inf, added to the scores
};

// Angles of rotary positions with the model's scaling, computed in double and grown on demand.
class RotaryTable {
 public:
  RotaryTable(const ModelConfig& config, const at::Device& device);
  // [count, 1, head_dim] for positions first .. first + count - 1.
  at::Tensor Cos(int64_t first, int64_t count);
  at::Tensor Sin(int64_t first, int64_t count);

 private:
  void Grow(int64_t positions);

  std::vector<double> frequencies_;  // head_dim / 2, radians per position
  at::Device device_;
  at::Tensor cos_, sin_;  // [positions, 1, head_dim]
};

// `queries` new positions behind `past` older ones, for `groups` query heads per kv head: [1,
// groups * queries, past + queries].
at::Tensor AttentionMask(const ModelConfig& config, int64_t past, int64_t queries,
                         const at::Device& device);

// Builds layouts; remembers the last one, since most steps repeat one shape.
class BatchLayouts {
 public:
  BatchLayouts(const ModelConfig& config, const at::Device& device);
  std::shared_ptr<const BatchLayout> Get(const std::vector<int32_t>& lengths);
  RotaryTable* rotary() { return &rotary_; }

 private:
  const ModelConfig config_;
  const at::Device device_;
  RotaryTable rotary_;
  std::vector<int32_t> last_lengths_;
  std::shared_ptr<const BatchLayout> last_;
};

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_BATCH_LAYOUT_H_
