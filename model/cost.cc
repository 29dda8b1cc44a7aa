#include "model/cost.h"

#include "base/status.h"

namespace isthmus {
namespace {

int64_t Elements(const TensorInfo& info) {
  int64_t n = 1;
  for (int64_t size : info.shape) n *= size;
  return n;
}

// Values of the tensors of `layer`, as TensorInfo numbers layers.
int64_t LayerParameters(const ModelConfig& config, int64_t layer) {
  ModelConfig one =
      config;  // blocks are alike: one stands for all, and a deep model costs no more to count
  one.num_layers = 1;
  int64_t n = 0;
  for (const TensorInfo& info : ModelTensors(one)) n += info.layer == layer ? Elements(info) : 0;
  return n;
}

constexpr int64_t kEmbeddingLayer = -1, kBlockLayer = 0, kHeadLayer = 1;

int64_t ComputeBytes(const CostAssumptions& a) { return a.bf16 ? 2 : 4; }

// Memory of weights and trained state; `adapter` counts values that LoRA adds.
void FillState(const CostAssumptions& a, int64_t base, int64_t adapter, LayerCost* cost) {
  cost->parameters = base;
  cost->weight_bytes = base * ComputeBytes(a);
  if (!a.train) {
    cost->weight_bytes += adapter * 4;
    return;
  }
  cost->trained_parameters = a.full ? base : adapter;
  // fp32 gradient and optimizer slots; the trained value itself when the weights above are not it
  // (an adapter, or the fp32 master copy of bf16 weights).
  const bool own_values = !a.full || a.bf16;
  cost->trained_bytes = cost->trained_parameters * 4 * (1 + a.optimizer_slots + own_values);
}

// Values per token that automatic differentiation keeps for one block, from the corridor of the
// block: both norms' inputs and outputs (4 d), q and the attention's output (2 q), k and v as they
// are and repeated to all heads (2 kv + 2 q), the attention weights (heads T), and of the
// feed-forward part its inner values: gate, its activation, up, their product, or fc and its
// activation.
int64_t BlockActivations(const ModelConfig& c, int64_t sequence) {
  const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim;
  const int64_t inner = c.feed_forward == FeedForward::kGated ? 4 : 2;
  return 4 * c.hidden_size + 4 * q + 2 * kv + c.num_heads * sequence + inner * c.intermediate_size;
}

}  // namespace

absl::StatusOr<LayerCost> BlockCost(const ModelConfig& config, const CostAssumptions& a) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<LinearName> targets, LoraLinears(config, a.lora));
  const int64_t sequence = a.sequence_length > 0 ? a.sequence_length : config.max_positions;
  double linear_flops = 0.0, lora_flops = 0.0;
  for (const LinearName& l : BlockLinears(config)) {
    linear_flops += 2.0 * static_cast<double>(l.in) * static_cast<double>(l.out);
  }
  int64_t adapter = 0;
  for (const LinearName& l : targets) adapter += a.lora.rank * (l.in + l.out);
  if (a.full) adapter = 0;
  lora_flops = 2.0 * static_cast<double>(adapter);
  const double attention_flops =
      4.0 * static_cast<double>(config.num_heads * config.head_dim) * static_cast<double>(sequence);
  LayerCost cost;
  cost.forward_flops = linear_flops + attention_flops + lora_flops;
  FillState(a, LayerParameters(config, kBlockLayer), adapter, &cost);
  if (!a.train) return cost;
  cost.backward_flops = linear_flops * (a.full ? 2.0 : 1.0) + 2.0 * (attention_flops + lora_flops);
  const int64_t kept = BlockActivations(config, sequence) * ComputeBytes(a);
  cost.activation_bytes = kept;
  if (a.recompute) {
    cost.backward_flops += cost.forward_flops;
    cost.activation_bytes = config.hidden_size * ComputeBytes(a);
    cost.workspace_bytes = kept;
  }
  return cost;
}

LayerCost EmbeddingCost(const ModelConfig& config, const CostAssumptions& a) {
  LayerCost cost;
  FillState(a, LayerParameters(config, kEmbeddingLayer), 0, &cost);
  if (a.train) cost.activation_bytes = 8;  // the id
  return cost;
}

LayerCost HeadCost(const ModelConfig& config, const CostAssumptions& a) {
  LayerCost cost;
  const int64_t tied = config.tied_embeddings ? config.vocab_size * config.hidden_size : 0;
  FillState(a, LayerParameters(config, kHeadLayer) + tied, 0, &cost);
  cost.forward_flops =
      2.0 * static_cast<double>(config.hidden_size) * static_cast<double>(config.vocab_size);
  cost.workspace_bytes = 4 * config.vocab_size;  // logits are fp32 whatever the compute dtype
  if (!a.train) return cost;
  cost.backward_flops = cost.forward_flops * (a.full ? 2.0 : 1.0);
  // The norm's input and output, and the logits' softmax; logits and their gradient only in
  // passing.
  cost.activation_bytes = 2 * config.hidden_size * ComputeBytes(a) + 4 * config.vocab_size;
  cost.workspace_bytes = 8 * config.vocab_size;
  return cost;
}

}  // namespace isthmus
