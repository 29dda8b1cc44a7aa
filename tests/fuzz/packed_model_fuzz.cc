// The reader of packed weights over any bytes: a Status, or matrices that can be multiplied with.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "base/check.h"
#include "engine/edge/packed_model.h"
#include "kernels/matmul.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // At a multiple of 64, as a mapped file is.
  constexpr std::align_val_t kLine{64};
  auto* bytes = static_cast<uint8_t*>(::operator new[](size + 64, kLine));
  std::memcpy(bytes, data, size);
  const std::shared_ptr<const void> owner(
      bytes, [](const void* p) { ::operator delete[](const_cast<void*>(p), kLine); });
  const auto file = isthmus::Safetensors::Parse({bytes, size}, owner, "fuzz");
  if (!file.ok()) return 0;
  const auto packed = isthmus::ParsePackedTensors(**file, "fuzz");
  if (!packed.ok()) {
    ISTHMUS_CHECK(absl::IsInvalidArgument(packed.status()));
    return 0;
  }
  for (const auto& [name, matrix] : packed->matrices) {
    if (matrix.in() > 1024 || matrix.out() > 1024) continue;
    const std::vector<float> x(2 * matrix.in(), 0.5f), dy(2 * matrix.out(), 0.5f);
    std::vector<float> y(2 * matrix.out()), dx(2 * matrix.in());
    isthmus::MatmulForward(x.data(), 2, matrix, y.data());
    isthmus::MatmulInputGradient(dy.data(), 2, matrix, dx.data());
  }
  return 0;
}
