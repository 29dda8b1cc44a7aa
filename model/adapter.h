// LoRA adapters in the form of Hugging Face PEFT: adapter_config.json + adapter_model.safetensors.
#ifndef ISTHMUS_MODEL_ADAPTER_H_
#define ISTHMUS_MODEL_ADAPTER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "model/config.h"

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
  std::string base_model;              // base_model_name_or_path
  std::vector<NamedTensor> tensors;    // PEFT names: "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"; A [r, in], B [out, r]
};

// Full PEFT name of the A or B matrix of a linear of layer `layer`.
std::string LoraTensorName(const ModelConfig& config, int64_t layer, const std::string& module, char which /* 'A' or 'B' */);

// Reads a PEFT directory; checks names and shapes against the model. modules_to_save, DoRA, rank patterns are refused by name.
absl::StatusOr<Adapter> ReadAdapter(const std::string& directory, const ModelConfig& config);
// Writes one that Hugging Face PEFT loads. Tensors in model order.
absl::Status WriteAdapter(const std::string& directory, const ModelConfig& config, const Adapter& adapter);

// Base + adapter as a plain Hugging Face directory (tokenizer and generation files are copied).
absl::Status MergeAdapter(const std::string& model_directory, const std::string& adapter_directory, const std::string& out_directory);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_ADAPTER_H_
