// A layer range on the kernels of this machine, without LibTorch.
//
// Every row is computed by the same operations in the same order whichever range, micro-batch or
// number of threads it comes in, which is what makes a split model equal the unsplit one bit for
// bit. Recomputation is the same forward pass into the work space.
#ifndef ISTHMUS_ENGINE_EDGE_EDGE_STAGE_H_
#define ISTHMUS_ENGINE_EDGE_EDGE_STAGE_H_

#include <map>
#include <vector>

#include "engine/edge/block.h"
#include "engine/edge/head.h"
#include "engine/edge/weights.h"
#include "engine/edge/work_space.h"
#include "engine/stage.h"

namespace isthmus::edge {

class EdgeStage : public Stage {
 public:
  // Both outlive the stage; `work` is shared by the stages of a party, which take turns.
  EdgeStage(Weights* weights, WorkSpace* work, const LayerRange& range);
  // Sets memory aside for `count` micro-batches of this size that await their backward pass.
  absl::Status Reserve(int64_t count, int64_t tokens);

  const LayerRange& range() const override { return range_; }
  absl::StatusOr<StageOutput> Forward(const MicroBatch& mb, Pass pass, const Tensor& in) override;
  absl::StatusOr<Tensor> Backward(uint32_t micro_batch, const Tensor& grad_out) override;
  void DropActivations() override;
  int64_t activation_bytes() const override;
  absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids, const Tensor& in) override;
  void ResetCache() override;

 private:
  // What one micro-batch leaves for its backward pass.
  struct Activations {
    Buffer memory;
    int64_t bytes = 0;
    int64_t tokens = 0, longest = 0;
    std::vector<int32_t> ids;
    DropoutKey dropout;  // its lengths are the micro-batch's
    std::vector<BlockKept> blocks;
    HeadKept head;
    RowLayout rows() const { return {dropout.lengths, tokens, longest, 0}; }
  };

  int64_t num_blocks() const { return range_.last_layer - range_.first_layer; }
  int64_t CarveKept(Carver* carver, int64_t tokens, Activations* kept) const;
  absl::StatusOr<Buffer> TakeMemory(int64_t bytes);
  BlockContext ContextOf(int64_t block, const RowLayout& rows, const DropoutKey* dropout) const;
  // The place of block i's output: the next block's input, or the work space's rows behind the
  // last.
  float* Behind(const Activations& kept, int64_t block) const;
  void ReadInput(absl::Span<const int32_t> ids, const RowLayout& rows, const Tensor& in,
                 float* x) const;
  // Blocks first .. last - 1 over the work space's rows, keeping nothing but what `extend` says.
  void RunBlocks(int64_t first, int64_t last, const RowLayout& rows, bool extend);
  absl::Status Train(const MicroBatch& mb, const Tensor& in, Activations* kept);
  void BackwardBlocks(const Activations& kept, float* grad);
  void AddEmbeddingGradient(const Activations& kept, const float* grad);
  absl::Status GrowCaches(int64_t positions);
  absl::StatusOr<Tensor> LastLogits(int64_t rows);
  absl::StatusOr<Tensor> Hidden(int64_t rows);

  Weights* const weights_;
  WorkSpace* const work_;
  const LayerRange range_;
  // Blocks behind a frozen embedding in which nothing is trained: no backward pass reaches them.
  int64_t passive_ = 0;
  const Head head_;
  std::map<uint32_t, Activations> kept_;
  std::vector<Activations> spare_;  // their vectors keep their memory
  std::vector<Buffer> free_;        // of activations that were used up
  std::vector<KvCache> caches_;     // one for each block
  int64_t cache_positions_ = 0;     // room
  int64_t cached_ = 0;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_EDGE_STAGE_H_
