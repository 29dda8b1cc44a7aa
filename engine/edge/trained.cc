#include "engine/edge/trained.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status.h"
#include "kernels/optimizer_step.h"
#include "model/convert.h"

namespace isthmus::edge {
namespace {

using kernels::EightBitState;
using kernels::StateSign;

constexpr char kSteps[] = "step";  // how many updates were made, among the optimizer's state

int64_t Elements(const Shape& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

// Codes, then the scales on the next whole float.
int64_t EightBitBytes(int64_t count) {
  return (count + 3) / 4 * 4 + 4 * kernels::StateBlocks(count);
}

// From element `first` on, the first of a block.
EightBitState EightBit(const TrainedTensor& tensor, size_t i, int64_t first = 0) {
  uint8_t* codes = tensor.state[i].data();
  float* scales = reinterpret_cast<float*>(codes + (tensor.count + 3) / 4 * 4);
  return {codes + first, scales + first / kernels::kStateBlock};
}

StateSign SignOf(int state) { return state == 0 ? StateSign::kSigned : StateSign::kUnsigned; }

absl::Status Zeros(int64_t bytes, const std::shared_ptr<MemoryAccount>& account, Buffer* buffer) {
  ISTHMUS_RETURN_IF_ERROR(buffer->Reserve(bytes, account));
  if (!account->plans()) std::memset(buffer->data(), 0, static_cast<size_t>(buffer->capacity()));
  return absl::OkStatus();
}

}  // namespace

TrainedTensors::TrainedTensors(Kind kind, const OptimizerSpec& spec, bool probes, uint64_t seed,
                               std::shared_ptr<MemoryAccount> account)
    : kind_(kind), spec_(spec), probes_(probes), seed_(seed), account_(std::move(account)) {
  if (kind != Kind::kSgd) {
    state_names_ = {"exp_avg", "exp_avg_sq"};
  } else if (spec.momentum != 0.0) {
    state_names_ = {"momentum"};
  }
}

absl::StatusOr<std::unique_ptr<TrainedTensors>> TrainedTensors::Make(
    const OptimizerSpec& spec, bool probes, uint64_t seed, std::shared_ptr<MemoryAccount> account) {
  Kind kind = Kind::kAdamW;
  if (spec.name == "adamw8bit") {
    kind = Kind::kAdamW8Bit;
  } else if (spec.name == "sgd") {
    kind = Kind::kSgd;
  } else if (spec.name != "adamw") {
    return InvalidArgument("name: expected adamw, adamw8bit or sgd, got ", spec.name,
                           " (train.optimizer)");
  }
  if (probes && (kind != Kind::kSgd || spec.momentum != 0.0)) {
    return InvalidArgument("name: expected sgd without momentum for training by probes, got ",
                           spec.name, " (train.optimizer)");
  }
  return std::unique_ptr<TrainedTensors>(
      new TrainedTensors(kind, spec, probes, seed, std::move(account)));
}

absl::StatusOr<TrainedTensor*> TrainedTensors::Add(const std::string& name, const Shape& shape,
                                                   bool updated) {
  TrainedTensor& tensor = tensors_.emplace_back();
  tensor.name = name;
  tensor.shape = shape;
  tensor.count = Elements(shape);
  ISTHMUS_RETURN_IF_ERROR(Zeros(tensor.count * 4, account_, &tensor.values));
  tensor.updated = updated;
  if (updated) ISTHMUS_RETURN_IF_ERROR(AddState(&tensor));
  return &tensor;
}

absl::StatusOr<TrainedTensor*> TrainedTensors::AddCodes(const std::string& name,
                                                        const StoredOrder& order, bool updated) {
  ISTHMUS_CHECK(!probes_);
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bytes,
                           PackedMatrix::PackedBytes(order.out, order.in, TrainedCodes::kSpec));
  TrainedTensor& tensor = tensors_.emplace_back();
  tensor.name = name;
  tensor.shape = {order.out, order.in};
  if (order.transposed) tensor.shape = {order.in, order.out};
  tensor.count = order.out * order.in;
  ISTHMUS_RETURN_IF_ERROR(tensor.values.Reserve(bytes, account_));
  if (!account_->plans())
    tensor.codes = std::make_unique<TrainedCodes>(tensor.values.data(), order);
  tensor.updated = updated;
  if (updated) ISTHMUS_RETURN_IF_ERROR(AddState(&tensor));
  return &tensor;
}

absl::Status TrainedTensors::AddState(TrainedTensor* tensor) {
  if (probes_) return tensor->unmoved.Reserve(tensor->count * 4, account_);
  const int64_t bytes =
      kind_ == Kind::kAdamW8Bit ? EightBitBytes(tensor->count) : tensor->count * 4;
  for (size_t i = 0; i < state_names_.size(); ++i) {
    ISTHMUS_RETURN_IF_ERROR(Zeros(bytes, account_, &tensor->state.emplace_back()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Parameter> TrainedTensors::Use(TrainedTensor* tensor) {
  Parameter parameter;
  if (tensor->codes == nullptr) parameter.values = tensor->values.floats();
  if (!tensor->updated || probes_) return parameter;
  Buffer& gradient = tensor->gradients.emplace_back();
  ISTHMUS_RETURN_IF_ERROR(Zeros(tensor->count * 4, account_, &gradient));
  parameter.gradient = gradient.floats();
  return parameter;
}

void TrainedTensors::ZeroGradients() {
  for (TrainedTensor& tensor : tensors_) {
    for (Buffer& gradient : tensor.gradients)
      std::memset(gradient.data(), 0, static_cast<size_t>(tensor.count) * 4);
  }
}

float* TrainedTensors::SumGradients(TrainedTensor* tensor) {
  float* sum = tensor->gradients[0].floats();
  for (size_t use = 1; use < tensor->gradients.size(); ++use) {
    float* gradient = tensor->gradients[use].floats();
    for (int64_t i = 0; i < tensor->count; ++i) {
      sum[i] += gradient[i];
      gradient[i] = 0.0f;
    }
  }
  return sum;
}

void TrainedTensors::Update(TrainedTensor* tensor, double lr, double gradient_scale) {
  if (tensor->codes != nullptr) return UpdateCodes(tensor, lr, gradient_scale);
  const float* gradient = SumGradients(tensor);
  UpdateRun(*tensor, {0, tensor->count, gradient, tensor->values.floats()}, lr, gradient_scale);
}

// The new values go where the gradient was, which nobody needs any more: no fp32 copy of a matrix
// beside it.
void TrainedTensors::UpdateCodes(TrainedTensor* tensor, double lr, double gradient_scale) {
  float* gradient = SumGradients(tensor);
  std::array<float, kernels::kStateBlock> values;
  for (int64_t first = 0; first < tensor->count; first += kernels::kStateBlock) {
    const int64_t count = std::min(kernels::kStateBlock, tensor->count - first);
    tensor->codes->Read(first, count, values.data());
    UpdateRun(*tensor, {first, count, gradient + first, values.data()}, lr, gradient_scale);
    std::copy_n(values.data(), count, gradient + first);
  }
  const uint64_t key =
      RandomKey(seed_, absl::StrCat("codes/", tensor->name), static_cast<uint64_t>(steps_));
  tensor->codes->WriteAtRandom(gradient, key);
}

void TrainedTensors::UpdateRun(const TrainedTensor& tensor, const Run& run, double lr,
                               double gradient_scale) {
  if (kind_ == Kind::kSgd) {
    const kernels::SgdStep step = {lr, spec_.momentum, spec_.weight_decay, gradient_scale};
    float* velocities = tensor.state.empty() ? nullptr : tensor.state[0].floats() + run.first;
    return kernels::Sgd(step, run.count, run.gradient, run.values, velocities);
  }
  const kernels::AdamWStep step = {
      lr, spec_.beta1, spec_.beta2, spec_.eps, spec_.weight_decay, steps_, gradient_scale};
  if (kind_ == Kind::kAdamW8Bit) {
    return kernels::AdamW8Bit(step, run.count, run.gradient, run.values,
                              EightBit(tensor, 0, run.first), EightBit(tensor, 1, run.first));
  }
  kernels::AdamW(step, run.count, run.gradient, run.values, tensor.state[0].floats() + run.first,
                 tensor.state[1].floats() + run.first);
}

void TrainedTensors::Step(double lr, double gradient_scale) {
  ++steps_;
  for (TrainedTensor& tensor : tensors_) {
    if (tensor.updated) Update(&tensor, lr, gradient_scale);
  }
  ZeroGradients();
}

absl::Status TrainedTensors::Move(const Probe& probe, double scale) {
  if (moved_)
    return absl::FailedPreconditionError("probe: expected values where they were, got moved ones");
  moved_ = true;
  for (TrainedTensor& tensor : tensors_) {
    if (!tensor.updated) continue;
    const size_t count = static_cast<size_t>(tensor.count);
    std::memcpy(tensor.unmoved.data(), tensor.values.data(), count * sizeof(float));
    MoveAlong(probe, tensor.name, scale, {tensor.unmoved.floats(), count},
              {tensor.values.floats(), count});
  }
  return absl::OkStatus();
}

absl::Status TrainedTensors::MoveBack() {
  if (!moved_)
    return absl::FailedPreconditionError("probe: expected moved values, got those that were");
  moved_ = false;
  for (TrainedTensor& tensor : tensors_) {
    if (!tensor.updated) continue;
    std::memcpy(tensor.values.data(), tensor.unmoved.data(),
                static_cast<size_t>(tensor.count) * sizeof(float));
  }
  return absl::OkStatus();
}

void TrainedTensors::Descend(const Descent& descent) {
  ++steps_;
  for (TrainedTensor& tensor : tensors_) {
    if (!tensor.updated) continue;
    isthmus::Descend(descent, tensor.name,
                     {tensor.values.floats(), static_cast<size_t>(tensor.count)});
  }
}

std::vector<TensorHeader> TrainedTensors::TrainedHeaders() const {
  std::vector<TensorHeader> headers;
  for (const TrainedTensor& tensor : tensors_)
    headers.push_back({tensor.name, DType::kF32, tensor.shape});
  return headers;
}

std::vector<TensorHeader> TrainedTensors::OptimizerHeaders() const {
  std::vector<TensorHeader> headers;
  for (const std::string& state : state_names_) {
    for (const TrainedTensor& tensor : tensors_) {
      if (!tensor.updated) continue;
      headers.push_back({absl::StrCat(state, "/", tensor.name), DType::kF32, tensor.shape});
    }
  }
  headers.push_back({kSteps, DType::kI64, {1}});
  return headers;
}

TrainedTensors::Found TrainedTensors::Find(const std::string& name) const {
  for (const TrainedTensor& tensor : tensors_) {
    if (!absl::EndsWith(name, tensor.name)) continue;
    if (name == tensor.name) return {&tensor, -1};
    if (!tensor.updated) continue;
    for (size_t i = 0; i < state_names_.size(); ++i) {
      if (name == absl::StrCat(state_names_[i], "/", tensor.name))
        return {&tensor, static_cast<int>(i)};
    }
  }
  return {};
}

absl::StatusOr<Tensor> TrainedTensors::Read(const std::string& name) const {
  if (name == kSteps) {
    Tensor steps(DType::kI64, {1});
    *static_cast<int64_t*>(steps.mutable_data()) = steps_;
    return steps;
  }
  const Found found = Find(name);
  if (found.tensor == nullptr)
    return NotFound(name, ": expected a tensor of the trained state, got another name");
  Tensor copy(DType::kF32, found.tensor->shape);
  float* out = copy.mutable_floats().data();
  if (found.state >= 0 && kind_ == Kind::kAdamW8Bit) {
    const size_t state = static_cast<size_t>(found.state);
    kernels::DecodeState(SignOf(found.state), EightBit(*found.tensor, state), found.tensor->count,
                         out);
    return copy;
  }
  if (found.state < 0 && found.tensor->codes != nullptr) {
    found.tensor->codes->Read(0, found.tensor->count, out);
    return copy;
  }
  const Buffer& from = found.state < 0 ? found.tensor->values
                                       : found.tensor->state[static_cast<size_t>(found.state)];
  std::memcpy(out, from.data(), static_cast<size_t>(found.tensor->count) * 4);
  return copy;
}

absl::Status TrainedTensors::WriteSteps(const Tensor& value) {
  if (value.dtype() != DType::kI64 || value.num_elements() != 1) {
    return InvalidArgument("step: expected one I64, got ", Name(value.dtype()), " ",
                           ToString(value.shape()), " (trained state)");
  }
  steps_ = *static_cast<const int64_t*>(value.data());
  return absl::OkStatus();
}

absl::Status TrainedTensors::Write(const std::string& name, const Tensor& value) {
  if (name == kSteps) return WriteSteps(value);
  const Found found = Find(name);
  if (found.tensor == nullptr)
    return NotFound(name, ": expected a tensor of the trained state, got another name");
  if (value.shape() != found.tensor->shape) {
    return InvalidArgument(name, ": expected shape ", ToString(found.tensor->shape), ", got ",
                           ToString(value.shape()), " (trained state)");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor floats, ToF32(value));
  if (found.state >= 0 && kind_ == Kind::kAdamW8Bit) {
    const size_t state = static_cast<size_t>(found.state);
    kernels::EncodeState(SignOf(found.state), floats.floats().data(), found.tensor->count,
                         EightBit(*found.tensor, state));
    return absl::OkStatus();
  }
  if (found.state < 0 && found.tensor->codes != nullptr)
    return Annotate(found.tensor->codes->Write(floats.floats().data()), name);
  const Buffer& to = found.state < 0 ? found.tensor->values
                                     : found.tensor->state[static_cast<size_t>(found.state)];
  std::memcpy(to.data(), floats.data(), static_cast<size_t>(found.tensor->count) * 4);
  return absl::OkStatus();
}

int64_t TrainedTensors::bytes() const {
  int64_t total = 0;
  for (const TrainedTensor& tensor : tensors_) {
    total += tensor.values.capacity();
    for (const Buffer& gradient : tensor.gradients) total += gradient.capacity();
    for (const Buffer& state : tensor.state) total += state.capacity();
    total += tensor.unmoved.capacity();
  }
  return total;
}

}  // namespace isthmus::edge
