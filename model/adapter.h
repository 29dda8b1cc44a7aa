// LoRA adapters in the form of Hugging Face PEFT: adapter_config.json + adapter_model.safetensors.
#ifndef ISTHMUS_MODEL_ADAPTER_H_
#define ISTHMUS_MODEL_ADAPTER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "model/config.h"
#include "model/safetensors.h"

namespace isthmus {

struct LoraSpec {
  int64_t rank = 8;
  double alpha = 16.0;
  double dropout = 0.0;
  std::vector<std::string> targets;  // leaf names: "q_proj"; empty = DefaultLoraTargets
  bool use_rslora = false;           // scale alpha / sqrt(rank) instead of alpha / rank
  double scale() const;
};

struct Adapter {
  LoraSpec lora;
  std::string base_model;  // base_model_name_or_path
  // In model order, A before B; A is [r, in], B [out, r], F32 after ReadAdapter. PEFT names:
  // "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight".
  std::vector<NamedTensor> tensors;
};

// The linears of a block that carry LoRA matrices, in the model's order. A target names a leaf
// ("c_proj": every linear called so) or more of the path ("attn.c_proj"), as in PEFT. No targets:
// DefaultLoraTargets. kInvalidArgument for a target that no linear has.
absl::StatusOr<std::vector<LinearName>> LoraLinears(const ModelConfig& config,
                                                    const LoraSpec& lora);

// The tensors of an adapter with their shapes, in model order, A before B.
absl::StatusOr<std::vector<TensorInfo>> AdapterTensors(const ModelConfig& config,
                                                       const LoraSpec& lora);

// Full PEFT name of the A or B matrix of a linear of layer `layer`.
std::string LoraTensorName(const ModelConfig& config, int64_t layer, const std::string& module,
                           char which /* 'A' or 'B' */);

// Reads a PEFT directory; checks names and shapes against the model: kInvalidArgument or kNotFound.
// What would change the result and is not supported (modules_to_save, DoRA, rank patterns, …) is
// refused by name; target_modules may be a list or "all-linear".
absl::StatusOr<Adapter> ReadAdapter(const std::string& directory, const ModelConfig& config);
// Writes one that Hugging Face PEFT loads: `tensors` are those of AdapterTensors, in that order.
absl::Status WriteAdapter(const std::string& directory, const ModelConfig& config,
                          const LoraSpec& lora, const std::string& base_model,
                          const TensorStream& tensors);
absl::Status WriteAdapter(const std::string& directory, const ModelConfig& config,
                          const Adapter& adapter);

// Base + adapter as a plain Hugging Face directory: W + scale * B A in fp32, rounded to the base's
// stored dtype; tokenizer, generation and config files are copied. `out_directory` must be new or
// empty; it appears whole or not at all. One tensor at a time is in memory.
absl::Status MergeAdapter(const std::string& model_directory, const std::string& adapter_directory,
                          const std::string& out_directory);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_ADAPTER_H_
