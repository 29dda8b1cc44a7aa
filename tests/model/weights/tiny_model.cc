#include "tests/model/weights/tiny_model.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace isthmus {

TemporaryFolder::TemporaryFolder() {
  path_ = (std::filesystem::temp_directory_path() / "isthmus-test-XXXXXX").string();
  ISTHMUS_CHECK(::mkdtemp(path_.data()) != nullptr);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TinyConfigText() {
  return R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 16,
  "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24, "vocab_size": 11,
  "max_position_embeddings": 32, "rms_norm_eps": 1e-05, "bos_token_id": 1, "eos_token_id": 2,
  "hidden_act": "silu", "torch_dtype": "float32", "tie_word_embeddings": true})";
}

std::string TinyGpt2ConfigText() {
  return R"({"model_type": "gpt2", "n_layer": 2, "n_embd": 12, "n_head": 3, "n_positions": 16,
  "n_ctx": 16, "vocab_size": 11, "bos_token_id": 10, "eos_token_id": 10, "n_inner": null})";
}

ModelConfig TinyConfig() { return ParseModelConfig(TinyConfigText()).value(); }

std::vector<NamedTensor> TinyTensors(const ModelConfig& config) {
  const auto weights = RandomWeights(config, 7);
  std::vector<NamedTensor> tensors;
  for (const TensorInfo& info : ModelTensors(config)) {
    tensors.push_back({info.name, weights->Load(info.name).value()});
  }
  return tensors;
}

void WriteTinyModel(const std::string& folder, const std::string& config_text) {
  std::ofstream(folder + "/config.json") << config_text;
  const ModelConfig config = ParseModelConfig(config_text).value();
  ISTHMUS_CHECK(
      WriteSafetensors(folder + "/model.safetensors", TinyTensors(config), {{"format", "pt"}})
          .ok());
}

}  // namespace isthmus
