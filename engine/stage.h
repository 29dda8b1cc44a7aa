// What computes a layer range. Knows nothing of peers, links or codecs. Implemented by
// engine/torch and engine/edge; one contract suite runs on both (tests/engine/stage_contract.h).
//
// A party (the client or one worker) holds one StageGroup: one or two layer ranges whose
// parameters, gradients and optimizer live together. A tensor that two ranges of a party use (tied
// embedding and head) is one tensor.
//
// Activations and gradients cross this interface as fp32 [tokens, width], real tokens only, samples
// one after the other.
//
// Errors: kInvalidArgument for ids outside the vocabulary or shapes that do not fit,
// kResourceExhausted when memory ends, kInternal with the engine's own words otherwise. No
// exception leaves.
//
// Threads: the stage thread of one session, from construction on.
#ifndef ISTHMUS_ENGINE_STAGE_H_
#define ISTHMUS_ENGINE_STAGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "engine/zeroth_order.h"
#include "model/adapter.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace isthmus {

// Blocks [first_layer, last_layer) and what stands around them.
struct LayerRange {
  int64_t first_layer = 0;
  int64_t last_layer = 0;
  bool embedding = false;  // token (and learned position) embedding in front
  bool head = false;       // final norm, output head and loss behind
};

struct OptimizerSpec {
  std::string name = "adamw";  // adamw | sgd
  double lr = 1e-3;            // the schedule's peak; each Step is told its own
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double momentum = 0.0;      // sgd
  double weight_decay = 0.0;  // decoupled, on every trained tensor
  double clip_norm = 0.0;     // 0: off; over all parties
};

// What a job says to the on-device engine besides (`edge:`); LibTorch's refuses all but the
// defaults.
struct EdgeSpec {
  std::string weights;   // how the frozen base is held, see engine/edge/engine.h; "": its default
  std::string kv_cache;  // how generation keeps keys and values, the same
  int64_t memory_limit_bytes = 0;  // of the engine's arena; 0: none
  std::string update = "all";      // all | auto: what fits the limit is trained
  // The largest micro-batch and how many await their backward pass: the arena is planned for them
  // and reserved when the stages are made. 0: it grows in the first step.
  int64_t sample_tokens = 0;
  int64_t micro_batch_samples = 0;
  int64_t micro_batches_kept = 0;
};

struct TrainSpec {
  bool full = false;    // full: every tensor is trained; else LoRA
  bool frozen = false;  // neither: evaluation and generation only
  LoraSpec lora;
  OptimizerSpec optimizer;
  int64_t probes = 0;          // of a step, zeroth_order.h; 0: backpropagation
  bool recompute = false;      // activations of the blocks are computed again in the backward pass
  bool bf16 = false;           // compute dtype; trained parameters and optimizer state stay fp32
  uint64_t seed = 0;           // LoRA initialisation and dropout
  int64_t threads = 0;         // intra-op; 0: leave
  std::string device = "cpu";  // cpu | cuda
  EdgeSpec edge;
};

// The samples of one micro-batch.
struct MicroBatch {
  uint64_t step = 0;
  uint32_t index = 0;             // within the step
  std::vector<uint64_t> samples;  // ids
  std::vector<int32_t> lengths;   // input positions of each sample
  std::vector<int32_t> ids;       // concatenated inputs; only for a range with the embedding
  std::vector<int32_t>
      targets;              // concatenated, -100 = not predicted; only for a range with the head
  double loss_scale = 1.0;  // gradient of the summed loss is multiplied by it: 1 / predicted tokens
                            // of the whole step
  int64_t tokens() const;   // sum of lengths
};

enum class Pass : uint8_t {
  kTrain,
  kEval
};  // kTrain keeps what Backward needs; dropout only in kTrain

struct StageOutput {
  Tensor hidden;          // [tokens, width]; empty for a range with the head
  double loss_sum = 0.0;  // sum of NLL, natural log (head only)
  int64_t predicted = 0;
  std::vector<double> sample_loss_sum;  // per sample, and their predicted counts
  std::vector<int64_t> sample_predicted;
};

class Stage {
 public:
  virtual ~Stage() = default;
  virtual const LayerRange& range() const = 0;

  // `in` is empty for a range with the embedding.
  virtual absl::StatusOr<StageOutput> Forward(const MicroBatch& mb, Pass pass,
                                              const Tensor& in) = 0;
  // After Forward(kTrain) of that micro-batch, in any order of micro-batches; each once. `grad_out`
  // is empty for a range with the head. Returns the gradient of `in`, empty for a range with the
  // embedding. Parameter gradients add up.
  virtual absl::StatusOr<Tensor> Backward(uint32_t micro_batch, const Tensor& grad_out) = 0;
  // Frees what Forward kept and Backward did not take (a step that is given up).
  virtual void DropActivations() = 0;
  virtual int64_t activation_bytes() const = 0;  // kept now

  // Generation: one sequence, positions continue where the last call ended. `ids` for a range with
  // the embedding, else `in`. A range with the head returns logits of the last position, [vocab];
  // else hidden [new tokens, width].
  virtual absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids, const Tensor& in) = 0;
  virtual void ResetCache() = 0;
};

// The memory of an engine that plans it before a run.
struct MemoryPlan {
  int64_t bytes = 0;  // 0: the engine does not plan
  std::string text;   // one line: the parts, and what is trained
};

class StageGroup {
 public:
  virtual ~StageGroup() = default;
  virtual size_t size() const = 0;
  virtual Stage* stage(size_t i) = 0;

  // Gradients. Names are the tensor names that Trained() reports.
  virtual void ZeroGradients() = 0;
  struct NamedSquare {
    std::string name;
    double sum_of_squares = 0.0;
  };
  virtual absl::StatusOr<std::vector<NamedSquare>> GradientSquares() = 0;  // in model order
  // The gradient of the tensor that another party holds too (tied embeddings, vanilla full
  // training): read, and replaced by the sum that both parties compute alike. Empty when nothing is
  // shared.
  virtual absl::StatusOr<Tensor> SharedGradient() = 0;
  virtual absl::Status SetSharedGradient(const Tensor& sum) = 0;

  // One optimizer update with gradients times `gradient_scale` (the clip), then ZeroGradients.
  virtual absl::Status Step(double lr, double gradient_scale) = 0;

  // Training by probes instead of gradients (TrainSpec::probes > 0): all trained values moved by
  // scale * z; then back to the bits that they had. kFailedPrecondition when they are moved
  // already, or not. Here: over copies of the trained state.
  virtual absl::Status Move(const Probe& probe, double scale);
  virtual absl::Status MoveBack();
  virtual absl::Status Descend(const Descent& descent);

  // Trained state, a tensor at a time: it is several times the size of the weights. What there is,
  // in model order: adapter tensors by PEFT name, or weights by model name, fp32.
  virtual std::vector<TensorHeader> TrainedHeaders() const = 0;
  // Optimizer state: "exp_avg/NAME", "exp_avg_sq/NAME", "momentum/NAME", fp32; last "step", one
  // I64.
  virtual std::vector<TensorHeader> OptimizerHeaders() const = 0;
  // A copy of one of either list; kNotFound for another name.
  virtual absl::StatusOr<Tensor> ReadState(const std::string& name) = 0;
  // Sets one of either list; kNotFound for another name, kInvalidArgument for another shape.
  virtual absl::Status WriteState(const std::string& name, const Tensor& value) = 0;

  // The same for a whole list.
  absl::StatusOr<std::vector<NamedTensor>> Trained() { return ReadAll(TrainedHeaders()); }
  absl::StatusOr<std::vector<NamedTensor>> OptimizerState() { return ReadAll(OptimizerHeaders()); }
  // Sets what it holds of these; names it does not hold are ignored, what is missing is kNotFound.
  // Nothing changes when one is missing or of another shape.
  absl::Status SetTrained(absl::Span<const NamedTensor> tensors) {
    return WriteAll(TrainedHeaders(), tensors);
  }
  absl::Status SetOptimizerState(absl::Span<const NamedTensor> tensors) {
    return WriteAll(OptimizerHeaders(), tensors);
  }

  virtual MemoryPlan memory_plan() const { return {}; }
  virtual int64_t parameter_bytes() const = 0;  // weights held, trained state apart
  virtual int64_t trained_bytes() const = 0;    // trained tensors, gradients and optimizer state

 private:
  absl::StatusOr<std::vector<NamedTensor>> ReadAll(const std::vector<TensorHeader>& headers);
  absl::Status WriteAll(const std::vector<TensorHeader>& headers,
                        absl::Span<const NamedTensor> tensors);

  std::vector<NamedTensor> unmoved_;  // what MoveBack goes back to
};

class Engine {
 public:
  virtual ~Engine() = default;
  // "torch 1.13.1 cpu"; the first word is what --engine takes.
  virtual std::string name() const = 0;
  // A model directory in a form that this engine computes from; with `weights` false only
  // config.json is read. Here: a plain one.
  virtual absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenModel(const std::string& path,
                                                                    bool weights);
  // `shared_embedding`: the tied tensor is held by another party as well.
  virtual absl::StatusOr<std::unique_ptr<StageGroup>> MakeStages(
      const ModelConfig& config, const TrainSpec& train, absl::Span<const LayerRange> ranges,
      WeightSource* weights, bool shared_embedding) = 0;
  // What MakeStages would take of memory, from the sizes of train.edge alone. Reads no weights.
  // kInvalidArgument as MakeStages, kResourceExhausted when it is more than the job's limit.
  virtual absl::StatusOr<MemoryPlan> PlanMemory(const ModelConfig& config, const TrainSpec& train,
                                                absl::Span<const LayerRange> ranges,
                                                bool shared_embedding);
  // Seconds per token of one block forward and backward on this machine, measured on `config`'s
  // sizes; for the partitioner.
  struct Speed {
    double forward_s = 0.0;
    double backward_s = 0.0;
  };
  virtual absl::StatusOr<Speed> MeasureBlock(const ModelConfig& config, const TrainSpec& train,
                                             int64_t tokens) = 0;
};

// The first word of its name.
std::string EngineWord(const Engine& engine);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_STAGE_H_
