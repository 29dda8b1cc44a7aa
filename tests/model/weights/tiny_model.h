// A model directory small enough to damage in a hundred ways: Llama, 2 layers, width 16, vocabulary
// 11, tied.
#ifndef ISTHMUS_TESTS_MODEL_WEIGHTS_TINY_MODEL_H_
#define ISTHMUS_TESTS_MODEL_WEIGHTS_TINY_MODEL_H_

#include <string>
#include <vector>

#include "base/tensor.h"
#include "model/config.h"

namespace isthmus {

// A folder of its own that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string TinyConfigText();      // llama
std::string TinyGpt2ConfigText();  // gpt2, 2 layers, width 12
ModelConfig TinyConfig();

// Seeded weights in model order.
std::vector<NamedTensor> TinyTensors(const ModelConfig& config = TinyConfig());

// config.json and model.safetensors.
void WriteTinyModel(const std::string& folder, const std::string& config_text = TinyConfigText());

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_MODEL_WEIGHTS_TINY_MODEL_H_
