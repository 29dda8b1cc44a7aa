#include "engine/torch/parameters.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/done_reading.h"
#include "base/status.h"
#include "engine/lora_start.h"
#include "engine/stage_input.h"
#include "engine/torch/convert.h"

namespace isthmus {
namespace {

at::Tensor DrawA(const TrainSpec& train, int64_t layer, const std::string& name, int64_t in) {
  at::Tensor a = at::empty({train.lora.rank, in}, at::kFloat);
  DrawLoraA(train.seed, layer, name, in,
            absl::MakeSpan(a.data_ptr<float>(), static_cast<size_t>(a.numel())));
  return a;
}

}  // namespace

at::Tensor TrainedTensor::Gradient() const {
  at::Tensor sum;
  for (const at::Tensor& leaf : leaves) {
    if (!leaf.grad().defined()) continue;
    sum = sum.defined() ? at::add(sum, leaf.grad()) : leaf.grad();
  }
  return sum;
}

void TrainedTensor::ClearGradient() {
  for (at::Tensor& leaf : leaves) leaf.mutable_grad() = at::Tensor();
}

absl::StatusOr<std::unique_ptr<Parameters>> Parameters::Load(const ModelConfig& config,
                                                             const TrainSpec& train,
                                                             absl::Span<const LayerRange> ranges,
                                                             WeightSource* source,
                                                             const at::Device& device) {
  for (const LayerRange& range : ranges) ISTHMUS_RETURN_IF_ERROR(CheckRange(config, range));
  TrainSpec resolved = train;
  if (!train.full && !train.frozen) {
    if (train.lora.targets.empty()) resolved.lora.targets = DefaultLoraTargets(config);
    ISTHMUS_RETURN_IF_ERROR(CheckLora(config, resolved.lora));
  }
  auto parameters = std::unique_ptr<Parameters>(new Parameters(config, resolved, device));
  ISTHMUS_RETURN_IF_ERROR(parameters->LoadAll(ranges, source));
  return parameters;
}

absl::Status Parameters::LoadAll(absl::Span<const LayerRange> ranges, WeightSource* source) {
  ISTHMUS_RETURN_IF_ERROR(LoadOuter(ranges, source, -1));
  std::set<int64_t> layers;
  for (const LayerRange& range : ranges) {
    for (int64_t layer = range.first_layer; layer < range.last_layer; ++layer) layers.insert(layer);
  }
  for (int64_t layer : layers) ISTHMUS_RETURN_IF_ERROR(LoadBlock(layer, source));
  return LoadOuter(ranges, source, config_.num_layers);
}

// What stands in front of the blocks (layer -1: token embedding, positions) or behind them (final
// norm, head).
absl::Status Parameters::LoadOuter(absl::Span<const LayerRange> ranges, WeightSource* source,
                                   int64_t layer) {
  bool embedding = false, head = false;
  for (const LayerRange& range : ranges) {
    embedding |= range.embedding;
    head |= range.head;
  }
  std::vector<at::Tensor*> slots;
  if (layer < 0) {
    slots = {&embedding_.tokens, &embedding_.positions};
  } else {
    slots = {&head_.norm.weight};
    if (config_.norm == Norm::kLayerNorm) slots.push_back(&head_.norm.bias);
    if (!config_.tied_embeddings) slots.push_back(&head_.weight);
  }
  size_t at = 0;
  for (const TensorInfo& info : ModelTensors(config_)) {
    if (info.layer != layer) continue;
    ISTHMUS_CHECK(at < slots.size());
    at::Tensor* slot = slots[at++];
    const bool tied_head = head && config_.tied_embeddings && slot == &embedding_.tokens;
    if (slot == &embedding_.tokens) token_embedding_name_ = info.name;
    if (layer < 0 ? !embedding && !tied_head : !head) continue;
    ISTHMUS_ASSIGN_OR_RETURN(*slot, LoadTensor(info, source));
    if (!tied_head) continue;
    head_.weight = *slot;
    if (train_.full && embedding) {
      head_.weight = slot->detach().requires_grad_();
      trained_.back().leaves.push_back(head_.weight);
    }
  }
  return absl::OkStatus();
}

absl::Status Parameters::LoadBlock(int64_t layer, WeightSource* source) {
  const std::string prefix = BlockPrefix(config_, layer);
  std::map<std::string, at::Tensor> tensors;
  BlockWeights block;
  const std::vector<LinearName> linears = BlockLinears(config_);
  const auto is_linear = [&](absl::string_view tensor) {
    return std::any_of(linears.begin(), linears.end(), [&](const LinearName& linear) {
      return absl::StartsWith(tensor, absl::StrCat(linear.module, "."));
    });
  };
  // What is not a linear map is a norm: the first is attention's, the second the feed-forward's.
  std::vector<at::Tensor*> norms = {&block.attention_norm.weight, &block.feed_forward_norm.weight};
  if (config_.norm == Norm::kLayerNorm) {
    norms = {&block.attention_norm.weight, &block.attention_norm.bias,
             &block.feed_forward_norm.weight, &block.feed_forward_norm.bias};
  }
  size_t norm = 0;
  for (const TensorInfo& info : ModelTensors(config_)) {
    if (info.layer != layer) continue;
    ISTHMUS_ASSIGN_OR_RETURN(at::Tensor tensor, LoadTensor(info, source));
    const absl::string_view name = absl::StripPrefix(info.name, prefix);
    if (is_linear(name)) {
      tensors[std::string(name)] = std::move(tensor);
    } else {
      ISTHMUS_CHECK(norm < norms.size());
      *norms[norm++] = std::move(tensor);
    }
  }
  std::vector<Linear*> slots = {&block.q, &block.k, &block.v, &block.out};
  if (config_.fused_qkv) slots = {&block.qkv, &block.out};
  if (config_.feed_forward == FeedForward::kGated) slots.push_back(&block.gate);
  slots.insert(slots.end(), {&block.up, &block.down});
  ISTHMUS_CHECK(slots.size() == linears.size());
  for (size_t i = 0; i < slots.size(); ++i) *slots[i] = MakeLinear(layer, linears[i], tensors);
  blocks_[layer] = std::move(block);
  return absl::OkStatus();
}

Linear Parameters::MakeLinear(int64_t layer, const LinearName& name,
                              const std::map<std::string, at::Tensor>& tensors) {
  Linear linear;
  linear.layer = layer;
  linear.module = name.module;
  linear.transposed = config_.transposed_linear;
  linear.weight = tensors.at(name.module + ".weight");
  if (name.bias) linear.bias = tensors.at(name.module + ".bias");
  if (!train_.full && !train_.frozen && IsLoraTarget(train_.lora, name)) AddAdapter(name, &linear);
  return linear;
}

void Parameters::AddAdapter(const LinearName& name, Linear* linear) {
  const std::string a = LoraTensorName(config_, linear->layer, name.module, 'A');
  const std::string b = LoraTensorName(config_, linear->layer, name.module, 'B');
  linear->lora_a = Train(a, DrawA(train_, linear->layer, a, name.in).to(device_));
  linear->lora_b = Train(
      b, at::zeros({name.out, train_.lora.rank}, at::TensorOptions(at::kFloat).device(device_)));
  linear->lora_scale = train_.lora.scale();
}

absl::StatusOr<at::Tensor> Parameters::LoadTensor(const TensorInfo& info, WeightSource* source) {
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor stored, source->Load(info.name));
  if (stored.shape() != info.shape) {
    return InvalidArgument(info.name, ": expected shape ", ToString(info.shape), ", got ",
                           ToString(stored.shape()), " (weights)");
  }
  if (train_.full) {
    const at::Tensor loaded = FromBytes(stored, at::kFloat, device_);
    // A view of the file is read-only; what was converted or moved is ours already.
    const bool ours = stored.dtype() != DType::kF32 || !device_.is_cpu();
    at::Tensor value = ours ? loaded : loaded.clone();
    DoneReading(stored.bytes());
    return Train(info.name, std::move(value));
  }
  const at::ScalarType dtype = info.shape.size() == 2 ? compute() : at::kFloat;
  const at::Tensor loaded = FromBytes(stored, dtype, device_);
  if (loaded.data_ptr() != stored.data()) DoneReading(stored.bytes());
  frozen_bytes_ += static_cast<int64_t>(loaded.nbytes());
  return loaded;
}

at::Tensor Parameters::Train(const std::string& name, at::Tensor value) {
  at::Tensor leaf = value.detach().requires_grad_();
  trained_.push_back({name, std::move(value), {leaf}});
  return leaf;
}

TrainedTensor* Parameters::tied() {
  if (!train_.full || !config_.tied_embeddings) return nullptr;
  for (TrainedTensor& tensor : trained_) {
    if (tensor.name == token_embedding_name_) return &tensor;
  }
  return nullptr;
}

}  // namespace isthmus
