// What a layer costs, for the partitioner: arithmetic, weights, trained state and kept activations.
// Estimates from the config alone; the partitioner scales them by speeds that were measured.
//
// Arithmetic, counted in floating-point operations (a multiply-add is two) of one token in a
// sequence of T:
//   a linear map in -> out            forward 2 in out;  backward 2 in out for its input, and 2 in
//   out for its weight if trained attention of h heads of size e    forward 4 h e T (scores and
//   weighted sum over the whole square, which is what the engine
//                                     computes before it masks), backward twice that
//   LoRA of rank r beside a map       forward 2 r (in + out), backward twice that
// Norms, activations and rotary embedding are below 1 % at widths from 256 on and are left out.
#ifndef ISTHMUS_MODEL_COST_H_
#define ISTHMUS_MODEL_COST_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "model/adapter.h"
#include "model/config.h"

namespace isthmus {

// How the model will be used.
struct CostAssumptions {
  bool train = true;  // false: evaluation and generation, nothing is kept for a backward pass
  bool full = false;  // every tensor is trained; else LoRA
  LoraSpec lora;
  int64_t sequence_length = 0;  // T; 0: the model's context
  bool recompute = false;  // blocks keep their input and run forward again in the backward pass
  bool bf16 = false;       // compute dtype; trained state stays fp32
  int64_t optimizer_slots = 2;  // fp32 values beside each trained one: AdamW 2, momentum 1, SGD 0
};

struct LayerCost {
  double forward_flops = 0.0;   // per token
  double backward_flops = 0.0;  // per token, recomputation included
  int64_t parameters = 0;       // values of the base
  int64_t trained_parameters = 0;
  int64_t weight_bytes = 0;      // the base in the compute dtype
  int64_t trained_bytes = 0;     // gradients and optimizer slots, and the adapter's own values
  int64_t activation_bytes = 0;  // per token, kept from forward to backward
  int64_t workspace_bytes = 0;  // per token, held only while the layer computes (recompute, logits)
};

// One block. kInvalidArgument when lora.targets has a name that the model has not.
absl::StatusOr<LayerCost> BlockCost(const ModelConfig& config, const CostAssumptions& assumptions);
// Token (and learned position) embedding.
LayerCost EmbeddingCost(const ModelConfig& config, const CostAssumptions& assumptions);
// Final norm, output head and loss. The weight of a tied head counts here too: subtract it where
// one party holds both ends.
LayerCost HeadCost(const ModelConfig& config, const CostAssumptions& assumptions);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_COST_H_
