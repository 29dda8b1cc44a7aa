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
#include "kernels/trained_codes.h"

namespace isthmus::edge {

// How one place uses a tensor: its values, and the gradient that this place adds to.
struct Parameter {
  const float* values = nullptr;  // null beside a gradient: trained as codes
  float* gradient = nullptr;      // null: frozen
};

// Every use has a gradient of its own: their sum is taken once, at the end of the step, and does
// not depend on the order in which a schedule interleaves backward passes.
//
// A matrix that is trained as codes (trained_codes.h) has them and no fp32 values. Its gradient is
// that of the weights W = s Q, in their units. The step is the optimizer's on W: that of the codes,
// whose gradient the chain rule makes s dL/dW, divided by s^2, which gives gradient and weight the
// ratio of their norms back that the scale took away (quantisation-aware scaling, Lin et al.,
// "On-Device Training Under 256KB Memory", 2022). What the step makes of W becomes codes again by
// random rounding.
struct TrainedTensor {
  std::string name;
  Shape shape;
  int64_t count = 0;
  Buffer values;                        // fp32, or the bytes of `codes`
  std::unique_ptr<TrainedCodes> codes;  // null: fp32, or nothing yet, on an account that plans
  bool updated = true;                  // false: it has its values and nothing else
  std::vector<Buffer> gradients;        // one for each use
  std::vector<Buffer> state;            // as the optimizer lays it out
  Buffer unmoved;                       // trained by probes: the values while they are moved
};

class TrainedTensors {
 public:
  // kInvalidArgument for an optimizer that is not there. `probes`: there are no gradients and no
  // optimizer state, but a second copy of the values. `seed`: of the rounding of codes.
  static absl::StatusOr<std::unique_ptr<TrainedTensors>> Make(
      const OptimizerSpec& spec, bool probes, uint64_t seed,
      std::shared_ptr<MemoryAccount> account);

  // Adds a tensor of zeros and returns its place; tensors stay where they are. Model order.
  absl::StatusOr<TrainedTensor*> Add(const std::string& name, const Shape& shape,
                                     bool updated = true);
  // The same for a matrix that is trained as codes; not with probes (CHECK).
  absl::StatusOr<TrainedTensor*> AddCodes(const std::string& name, const StoredOrder& order,
                                          bool updated);
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

  TrainedTensors(Kind kind, const OptimizerSpec& spec, bool probes, uint64_t seed,
                 std::shared_ptr<MemoryAccount> account);
  Found Find(const std::string& name) const;
  absl::Status AddState(TrainedTensor* tensor);
  // Elements `first` and behind of a tensor, `first` a multiple of kernels::kStateBlock.
  struct Run {
    int64_t first = 0, count = 0;
    const float* gradient = nullptr;
    float* values = nullptr;  // in place
  };
  void Update(TrainedTensor* tensor, double lr, double gradient_scale);
  void UpdateCodes(TrainedTensor* tensor, double lr, double gradient_scale);
  void UpdateRun(const TrainedTensor& tensor, const Run& run, double lr, double gradient_scale);
  absl::Status WriteSteps(const Tensor& value);

  const Kind kind_;
  const OptimizerSpec spec_;
  const bool probes_;
  const uint64_t seed_;
  const std::shared_ptr<MemoryAccount> account_;
  std::vector<std::string> state_names_;  // "exp_avg"
  std::deque<TrainedTensor> tensors_;
  int64_t steps_ = 0;
  bool moved_ = false;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_TRAINED_H_
