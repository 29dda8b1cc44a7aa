// AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101) and SGD with momentum, element for element
// what torch.optim computes; weight decay is decoupled in both. State is fp32.
#ifndef ISTHMUS_ENGINE_TORCH_OPTIMIZER_H_
#define ISTHMUS_ENGINE_TORCH_OPTIMIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/stage.h"
#include "engine/torch/libtorch.h"

namespace isthmus {

class Optimizer {
 public:
  // Reserves the state for these tensors. kInvalidArgument for a name that is not there.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Make(const OptimizerSpec& spec,
                                                         const std::vector<at::Tensor>& values);
  virtual ~Optimizer() = default;

  // Once per step, before the tensors.
  void BeginStep() { ++steps_; }
  // Updates values[i] in place with gradient `grad` times `gradient_scale`. `grad` may be
  // overwritten.
  virtual void Update(size_t i, at::Tensor value, at::Tensor grad, double lr,
                      double gradient_scale) = 0;

  struct State {
    std::string name;                 // "exp_avg"
    std::vector<at::Tensor> tensors;  // one for each value
  };
  const std::vector<State>& state() const { return state_; }
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 protected:
  void AddState(const char* name, const std::vector<at::Tensor>& values);

  std::vector<State> state_;
  int64_t steps_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_OPTIMIZER_H_
