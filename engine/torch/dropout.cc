#include "engine/torch/dropout.h"

namespace isthmus {

at::Tensor DropoutMask(const DropoutKey& key, int64_t layer, const std::string& module,
                       int64_t width, const at::Device& device) {
  int64_t tokens = 0;
  for (int32_t length : key.lengths) tokens += length;
  at::Tensor mask = at::empty({tokens, width}, at::kFloat);
  FillDropoutMask(key, layer, module, width,
                  absl::MakeSpan(mask.data_ptr<float>(), static_cast<size_t>(mask.numel())));
  return mask.to(device);
}

}  // namespace isthmus
