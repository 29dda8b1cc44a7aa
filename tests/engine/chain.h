// A model as a chain of stages without links or codecs: what the engine tests train, split in any
// way.
#ifndef ISTHMUS_TESTS_ENGINE_CHAIN_H_
#define ISTHMUS_TESTS_ENGINE_CHAIN_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/check.h"
#include "engine/stage.h"

namespace isthmus {

// The value, or the end of the program with the status.
template <typename T>
T Take(absl::StatusOr<T> value) {
  if (!value.ok()) std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  ISTHMUS_CHECK(value.ok());
  return *std::move(value);
}

// parties[p] are the ranges of party p. Together they are the model, or its front without the head.
using Parties = std::vector<std::vector<LayerRange>>;

// One party with the whole model in one range.
Parties Whole(const ModelConfig& config);
// One range per party, cut after the blocks `cuts`.
Parties CutAfter(const ModelConfig& config, const std::vector<int64_t>& cuts);
// Party 0 has embedding, `head_layers` blocks, `tail_layers` last blocks and the head; party 1 the
// middle.
Parties UShape(const ModelConfig& config, int64_t head_layers, int64_t tail_layers);

class Chain {
 public:
  Chain(Engine* engine, const ModelConfig& config, const TrainSpec& train, const Parties& parties,
        WeightSource* weights);

  // Over all stages in order; the hidden state at every cut is in `cuts`.
  StageOutput Forward(const MicroBatch& mb, Pass pass);
  // The gradient at every cut is in `grad_cuts`, in model order.
  void Backward(uint32_t micro_batch);
  // Forward and backward of all micro-batches, one update; returns the mean loss. clip_norm of
  // `train` applies.
  double TrainStep(const std::vector<MicroBatch>& mbs, double lr);
  double MeanLoss(const MicroBatch& mb);
  // Logits (or hidden rows of the last stage) after feeding `ids` behind what was fed before.
  Tensor Extend(const std::vector<int32_t>& ids);
  std::vector<int32_t> Greedy(std::vector<int32_t> ids, size_t length);

  std::vector<NamedTensor> Trained();  // all parties
  void SetTrained(const std::vector<NamedTensor>& tensors);
  std::vector<NamedTensor> OptimizerState();
  void SetOptimizerState(const std::vector<NamedTensor>& tensors);
  std::vector<StageGroup::NamedSquare> GradientSquares();

  StageGroup* group(size_t party) { return groups_[party].get(); }
  const std::vector<Stage*>& stages() const { return stages_; }

  std::vector<Tensor> cuts, grad_cuts;

 private:
  void ExchangeSharedGradient();

  TrainSpec train_;
  std::vector<std::unique_ptr<StageGroup>> groups_;
  std::vector<Stage*> stages_;  // model order
};

// The windows of `documents`: inputs are all ids but the last, targets all but the first.
// loss_scale: mean over all of them.
MicroBatch PredictNext(const std::vector<std::vector<int32_t>>& documents,
                       uint64_t first_sample = 0);
// The same samples in micro-batches of at most `size`, scaled to one mean.
std::vector<MicroBatch> Divide(const MicroBatch& mb, size_t size);
// Reproducible ids; document d has lengths[d] of them.
std::vector<std::vector<int32_t>> RandomDocuments(int64_t vocab, const std::vector<int>& lengths,
                                                  uint64_t seed);

// A tiny model of an architecture: a few thousand parameters, every branch of its kind of block.
// `extra` replaces or adds keys:
// "\"sliding_window\": 3".
ModelConfig TinyConfig(const std::string& architecture, const std::string& extra = "");

bool SameBytes(const std::vector<NamedTensor>& a, const std::vector<NamedTensor>& b);

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_ENGINE_CHAIN_H_
