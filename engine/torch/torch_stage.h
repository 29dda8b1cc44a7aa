// A layer range on LibTorch.
//
// The range is a chain of links: embedding, each block, head. Every block has a graph of its own,
// from a leaf (its input) to its output, and the backward pass walks the chain. A block therefore
// computes the same operations in the same order whichever range it is in, which is what makes a
// split model equal the unsplit one bit for bit; and activation recomputation is the same walk with
// the graph built late.
#ifndef ISTHMUS_ENGINE_TORCH_TORCH_STAGE_H_
#define ISTHMUS_ENGINE_TORCH_TORCH_STAGE_H_

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/stage.h"
#include "engine/torch/batch_layout.h"
#include "engine/torch/head.h"
#include "engine/torch/parameters.h"

namespace isthmus {

class TorchStage : public Stage {
 public:
  // `parameters` holds what the range needs and outlives the stage.
  TorchStage(Parameters* parameters, const LayerRange& range);

  const LayerRange& range() const override { return range_; }
  absl::StatusOr<StageOutput> Forward(const MicroBatch& mb, Pass pass, const Tensor& in) override;
  absl::StatusOr<Tensor> Backward(uint32_t micro_batch, const Tensor& grad_out) override;
  void DropActivations() override { kept_.clear(); }
  int64_t activation_bytes() const override;
  absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids, const Tensor& in) override;
  void ResetCache() override;

 private:
  // One block's graph; `out` is undefined when it is to be computed again.
  struct Link {
    at::Tensor in, out;
  };
  struct Activations {
    std::shared_ptr<const BatchLayout> layout;
    DropoutKey dropout;
    at::Tensor ids;
    std::vector<Link> links;
    std::optional<HeadActivations> head;
    int64_t bytes = 0;
  };

  absl::StatusOr<StageOutput> ForwardChain(const MicroBatch& mb, Pass pass, const Tensor& in);
  absl::StatusOr<Tensor> BackwardChain(Activations kept, const Tensor& grad_out);
  absl::StatusOr<Tensor> ExtendChain(absl::Span<const int32_t> ids, const Tensor& in);

  at::Tensor First(absl::Span<const int32_t> ids, const at::Tensor& positions, const Tensor& in,
                   at::Tensor* at_ids) const;
  at::Tensor RunBlock(int64_t layer, const Activations& kept, const at::Tensor& x) const;
  at::Tensor ForwardTrained(int64_t layer, at::Tensor x, Activations* kept) const;
  at::Tensor BackwardBlock(int64_t layer, const Activations& kept, Link* link,
                           const at::Tensor& grad) const;
  at::Tensor Leaf(const at::Tensor& x, bool first) const;
  int64_t ChainBytes(const Activations& kept) const;

  Parameters* const parameters_;
  const LayerRange range_;
  BatchLayouts layouts_;
  std::optional<Head> head_;
  std::map<uint32_t, Activations> kept_;
  std::vector<KvCache> cache_;  // one per block
  int64_t cached_ = 0;          // positions
};

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_TORCH_STAGE_H_
