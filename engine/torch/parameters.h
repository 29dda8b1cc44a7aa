// The tensors of one party: base weights as stored where they are frozen, fp32 leaves where they
// are trained, LoRA matrices.
//
// Frozen fp32 weights are views of the mapped file: no copy, and pages of tensors that are never
// read are never loaded. Weights stored in bf16 or f16 are widened to fp32 once, except that
// matrices stay bf16 when bf16 computes.
#ifndef ISTHMUS_ENGINE_TORCH_PARAMETERS_H_
#define ISTHMUS_ENGINE_TORCH_PARAMETERS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/stage.h"
#include "engine/torch/block.h"
#include "engine/torch/embedding.h"
#include "engine/torch/head.h"
#include "engine/torch/libtorch.h"

namespace isthmus {

// A trained tensor. It is one tensor however often it is used, but every use has a gradient of its
// own: the sum of the uses is then taken once, at the end of the step, and does not depend on the
// order in which a schedule interleaves their backward passes.
struct TrainedTensor {
  std::string name;
  at::Tensor value;                // fp32
  std::vector<at::Tensor> leaves;  // require gradients and share the memory of `value`
  at::Tensor Gradient() const;     // undefined: nothing was added since ClearGradient
  void ClearGradient();
};

class Parameters {
 public:
  // Loads what `ranges` need. kInvalidArgument for ranges outside the model and adapter targets
  // that no linear map has.
  static absl::StatusOr<std::unique_ptr<Parameters>> Load(const ModelConfig& config,
                                                          const TrainSpec& train,
                                                          absl::Span<const LayerRange> ranges,
                                                          WeightSource* source,
                                                          const at::Device& device);

  const ModelConfig& config() const { return config_; }
  const TrainSpec& train() const { return train_; }
  const at::Device& device() const { return device_; }
  at::ScalarType compute() const { return train_.bf16 ? at::kBFloat16 : at::kFloat; }

  const BlockWeights& block(int64_t layer) const { return blocks_.at(layer); }
  const EmbeddingWeights& embedding() const { return embedding_; }
  const HeadWeights& head() const { return head_; }

  std::vector<TrainedTensor>& trained() { return trained_; }  // model order
  const std::vector<TrainedTensor>& trained() const { return trained_; }
  // The trained tensor of the tied embedding and head; null when there is none.
  TrainedTensor* tied();
  int64_t frozen_bytes() const { return frozen_bytes_; }

 private:
  Parameters(const ModelConfig& config, const TrainSpec& train, const at::Device& device)
      : config_(config), train_(train), device_(device) {}

  absl::Status LoadAll(absl::Span<const LayerRange> ranges, WeightSource* source);
  absl::StatusOr<at::Tensor> LoadTensor(const TensorInfo& info, WeightSource* source);
  absl::Status LoadOuter(absl::Span<const LayerRange> ranges, WeightSource* source, int64_t layer);
  absl::Status LoadBlock(int64_t layer, WeightSource* source);
  Linear MakeLinear(int64_t layer, const LinearName& name,
                    const std::map<std::string, at::Tensor>& tensors);
  void AddAdapter(const LinearName& name, Linear* linear);
  at::Tensor Train(const std::string& name, at::Tensor value);

  const ModelConfig config_;
  const TrainSpec train_;
  const at::Device device_;
  std::map<int64_t, BlockWeights> blocks_;
  EmbeddingWeights embedding_;
  HeadWeights head_;
  std::vector<TrainedTensor> trained_;
  std::string token_embedding_name_;
  int64_t frozen_bytes_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_PARAMETERS_H_
