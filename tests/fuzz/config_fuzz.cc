// config.json, generation_config.json and what is derived from them, over any text.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "model/config.h"
#include "model/cost.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto config = isthmus::ParseModelConfig(text);
  if (!config.ok()) {
    ISTHMUS_CHECK(absl::IsInvalidArgument(config.status()));
    return 0;
  }
  ISTHMUS_CHECK(config->num_heads % config->num_kv_heads == 0);
  (void)isthmus::AddGenerationConfig(text, &*config);
  int64_t elements = 0;
  for (const auto& tensor : isthmus::ModelTensors(*config)) {
    int64_t n = 1;
    for (int64_t dim : tensor.shape) ISTHMUS_CHECK(!__builtin_mul_overflow(n, dim, &n));
    ISTHMUS_CHECK(!__builtin_add_overflow(elements, n, &elements));
  }
  ISTHMUS_CHECK(isthmus::BlockCost(*config, {}).ok());
  return 0;
}
