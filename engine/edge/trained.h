// The trained tensors of one party with their gradients and optimizer state.
#ifndef ISTHMUS_ENGINE_EDGE_TRAINED_H_
#define ISTHMUS_ENGINE_EDGE_TRAINED_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/edge/memory.h"
#include "engine/stage.h"

namespace isthmus::edge {

// How one place uses a tensor: its values, and the gradient that this place adds to.
struct Parameter {
  const float* values = nullptr;
  float* gradient = nullptr;  // null: frozen
};

// Every use has a gradient of its own: their sum is taken once, at the end of the step, and does
// not depend on the order in which a schedule interleaves backward passes.
struct TrainedTensor {
  std::string name;
  Shape shape;
  int64_t count = 0;
  Buffer values;
  bool updated = true;            // false: it has its values and nothing else
  std::vector<Buffer> gradients;  // one for each use
  std::vector<Buffer> state;      // as the optimizer lays it out
  Buffer unmoved;                 // trained by probes: the values while they are moved
};

class TrainedTensors {
 public:
  // kInvalidArgument for an optimizer that is not there. `probes`: there are no gradients and no
  // optimizer state, but a second copy of the values.
  static absl::StatusOr<std::unique_ptr<TrainedTensors>> Make(
      const OptimizerSpec& spec, bool probes, std::shared_ptr<MemoryAccount> account);

  // Adds a tensor of zeros and returns its place; tensors stay where they are. Model order.
  absl::StatusOr<TrainedTensor*> Add(const std::string& name, const Shape& shape,
                                     bool updated = true);
  // A further use of a tensor.
  absl::StatusOr<Parameter> Use(TrainedTensor* tensor);

  std::deque<TrainedTensor>& tensors() { return tensors_; }

  void ZeroGradients();
  // Adds the gradients of all uses into that of the first, which is returned; the others are zero
  // then.
  static float* SumGradients(TrainedTensor* tensor);
  // One update of every tensor, then ZeroGradients.
  void Step(double lr, double gradient_scale);

  // As StageGroup has them.
  absl::Status Move(const Probe& probe, double scale);
  absl::Status MoveBack();
  void Descend(const Descent& descent);

  std::vector<TensorHeader> TrainedHeaders() const;
  std::vector<TensorHeader> OptimizerHeaders() const;
  absl::StatusOr<Tensor> Read(const std::string& name) const;
  absl::Status Write(const std::string& name, const Tensor& value);
  int64_t bytes() const;  // values, gradients, state

 private:
  enum class Kind : uint8_t { kAdamW, kAdamW8Bit, kSgd };
  struct Found {
    const TrainedTensor* tensor = nullptr;
    int state = -1;  // -1: the values
  };

  TrainedTensors(Kind kind, const OptimizerSpec& spec, bool probes,
                 std::shared_ptr<MemoryAccount> account);
  Found Find(const std::string& name) const;
  absl::Status AddState(TrainedTensor* tensor);
  void Update(TrainedTensor* tensor, double lr, double gradient_scale);
  absl::Status WriteSteps(const Tensor& value);

  const Kind kind_;
  const OptimizerSpec spec_;
  const bool probes_;
  const std::shared_ptr<MemoryAccount> account_;
  std::vector<std::string> state_names_;  // "exp_avg"
  std::deque<TrainedTensor> tensors_;
  int64_t steps_ = 0;
  bool moved_ = false;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_TRAINED_H_
