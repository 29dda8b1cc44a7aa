#include "engine/torch/torch_stage.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "engine/stage_input.h"
#include "engine/torch/convert.h"
#include "engine/torch/guard.h"

namespace isthmus {

TorchStage::TorchStage(Parameters* parameters, const LayerRange& range)
    : parameters_(parameters),
      range_(range),
      layouts_(parameters->config(), parameters->device()),
      cache_(range.last_layer - range.first_layer) {
  if (range.head) {
    head_.emplace(parameters->config(), parameters->head(), parameters->compute());
  }
}

absl::StatusOr<StageOutput> TorchStage::Forward(const MicroBatch& mb, Pass pass, const Tensor& in) {
  ISTHMUS_RETURN_IF_ERROR(CheckMicroBatch(parameters_->config(), range_, mb, in));
  if (pass == Pass::kTrain && kept_.count(mb.index) > 0) return AlreadyKept(mb.index);
  return Guard([&] { return ForwardChain(mb, pass, in); });
}

absl::StatusOr<Tensor> TorchStage::Backward(uint32_t micro_batch, const Tensor& grad_out) {
  auto found = kept_.find(micro_batch);
  if (found == kept_.end()) return NotKept(micro_batch, kept_.size());
  if (!range_.head) {
    ISTHMUS_RETURN_IF_ERROR(
        CheckHidden(parameters_->config(), grad_out, found->second.layout->tokens, "gradient"));
  }
  Activations kept = std::move(found->second);
  kept_.erase(found);
  return Guard([&] { return BackwardChain(std::move(kept), grad_out); });
}

int64_t TorchStage::activation_bytes() const {
  int64_t total = 0;
  for (const auto& [index, kept] : kept_) total += kept.bytes;
  return total;
}

absl::StatusOr<Tensor> TorchStage::Extend(absl::Span<const int32_t> ids, const Tensor& in) {
  ISTHMUS_RETURN_IF_ERROR(CheckExtension(parameters_->config(), range_, cached_, ids, in).status());
  return Guard([&] { return ExtendChain(ids, in); });
}

void TorchStage::ResetCache() {
  cache_.assign(cache_.size(), KvCache());
  cached_ = 0;
}

// The rows that enter the first block: embedded ids, or what came over the cut.
at::Tensor TorchStage::First(absl::Span<const int32_t> ids, const at::Tensor& positions,
                             const Tensor& in, at::Tensor* at_ids) const {
  if (!range_.embedding) return FromBytes(in, at::kFloat, parameters_->device());
  at::Tensor indices = at::empty({static_cast<int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), indices.data_ptr<int64_t>());
  *at_ids = indices.to(parameters_->device());
  return Embed(parameters_->embedding(), *at_ids, positions);
}

absl::StatusOr<StageOutput> TorchStage::ForwardChain(const MicroBatch& mb, Pass pass,
                                                     const Tensor& in) {
  at::NoGradGuard no_grad;
  Activations kept;
  kept.layout = layouts_.Get(mb.lengths);
  at::Tensor x = First(mb.ids, kept.layout->positions, in, &kept.ids);
  const bool train = pass == Pass::kTrain;
  if (train) {
    const TrainSpec& spec = parameters_->train();
    kept.dropout = {spec.lora.dropout, spec.seed, mb.step, mb.samples, mb.lengths};
  }
  for (int64_t layer = range_.first_layer; layer < range_.last_layer; ++layer) {
    x = train ? ForwardTrained(layer, x, &kept) : RunBlock(layer, kept, x);
  }
  StageOutput out;
  if (range_.head) {
    if (train) x = Leaf(x, kept.links.empty());
    if (train) kept.head.emplace();
    head_->Forward(mb, x, &out, train ? &*kept.head : nullptr);
  } else {
    out.hidden = ToBytes(x);
  }
  if (train) {
    kept.bytes = ChainBytes(kept);
    kept_.emplace(mb.index, std::move(kept));
  }
  return out;
}

// A leaf asks for its gradient unless nothing in front of it wants one: a frozen embedding.
at::Tensor TorchStage::Leaf(const at::Tensor& x, bool first) const {
  at::Tensor leaf = x.detach();
  leaf.set_requires_grad(!(first && range_.embedding && !parameters_->train().full));
  return leaf;
}

at::Tensor TorchStage::RunBlock(int64_t layer, const Activations& kept, const at::Tensor& x) const {
  return ForwardBlock(parameters_->config(), parameters_->block(layer), *kept.layout, kept.dropout,
                      parameters_->compute(), x);
}

at::Tensor TorchStage::ForwardTrained(int64_t layer, at::Tensor x, Activations* kept) const {
  Link link;
  link.in = Leaf(x, kept->links.empty());
  at::AutoGradMode grad(!parameters_->train().recompute);
  at::Tensor out = RunBlock(layer, *kept, link.in);
  if (out.requires_grad()) link.out = out;
  kept->links.push_back(std::move(link));
  return out.detach();
}

int64_t TorchStage::ChainBytes(const Activations& kept) const {
  int64_t total = kept.head.has_value() ? kept.head->bytes() : 0;
  for (size_t i = 0; i < kept.links.size(); ++i) {
    const Link& link = kept.links[i];
    total += static_cast<int64_t>(link.in.nbytes());
    if (!link.out.defined()) continue;
    total += BlockActivationBytes(parameters_->config(),
                                  parameters_->block(range_.first_layer + static_cast<int64_t>(i)),
                                  *kept.layout, kept.dropout);
  }
  return total;
}

absl::StatusOr<Tensor> TorchStage::BackwardChain(Activations kept, const Tensor& grad_out) {
  at::Tensor grad = range_.head ? head_->Backward(*std::exchange(kept.head, std::nullopt))
                                : FromBytes(grad_out, at::kFloat, parameters_->device());
  for (int64_t layer = range_.last_layer - 1; layer >= range_.first_layer; --layer) {
    Link link = std::move(kept.links.back());
    kept.links.pop_back();
    grad = BackwardBlock(layer, kept, &link, grad);
  }
  if (!range_.embedding) return ToBytes(grad);
  if (parameters_->train().full) {
    const EmbeddingWeights& embedding = parameters_->embedding();
    AddRowGradients(embedding.tokens, kept.ids, grad);
    if (embedding.positions.defined()) {
      AddRowGradients(embedding.positions, kept.layout->positions, grad);
    }
  }
  return Tensor();
}

// Adds the gradients of the block's tensors and returns that of its input; undefined when nobody
// asks for it.
at::Tensor TorchStage::BackwardBlock(int64_t layer, const Activations& kept, Link* link,
                                     const at::Tensor& grad) const {
  if (!link->out.defined() && parameters_->train().recompute) {
    at::AutoGradMode enabled(true);
    link->out = RunBlock(layer, kept, link->in);
  }
  if (!link->out.defined() || !link->out.requires_grad()) return at::Tensor();
  torch::autograd::backward({link->out}, {grad});
  return link->in.grad();
}

absl::StatusOr<Tensor> TorchStage::ExtendChain(absl::Span<const int32_t> ids, const Tensor& in) {
  at::NoGradGuard no_grad;
  const ModelConfig& config = parameters_->config();
  const at::Device& device = parameters_->device();
  BatchLayout layout;
  layout.samples = 1;
  layout.tokens = layout.longest = range_.embedding ? static_cast<int64_t>(ids.size()) : in.dim(0);
  if (config.positions == Positions::kRope) {
    layout.cos = layouts_.rotary()->Cos(cached_, layout.tokens);
    layout.sin = layouts_.rotary()->Sin(cached_, layout.tokens);
  } else {
    layout.positions =
        at::arange(cached_, cached_ + layout.tokens, at::TensorOptions(at::kLong).device(device));
  }
  layout.mask = AttentionMask(config, cached_, layout.tokens, device);
  at::Tensor unused;
  at::Tensor x = First(ids, layout.positions, in, &unused);
  for (int64_t i = 0; i < static_cast<int64_t>(cache_.size()); ++i) {
    x = ExtendBlock(config, parameters_->block(range_.first_layer + i), layout, cached_,
                    parameters_->compute(), x, &cache_[i]);
  }
  cached_ += layout.tokens;
  return ToBytes(range_.head ? head_->LastLogits(x) : x);
}

}  // namespace isthmus
