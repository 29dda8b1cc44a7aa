// The .npy reader over any bytes: a Status or a tensor whose every byte can be read.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "model/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto bytes = std::make_shared<std::vector<uint8_t>>(data, data + size);
  const auto tensor = isthmus::ParseNpy(*bytes, bytes, "fuzz");
  if (!tensor.ok()) {
    ISTHMUS_CHECK(absl::IsInvalidArgument(tensor.status()));
    return 0;
  }
  return isthmus::Crc32c(tensor->bytes(), 0) == 1 ? -1 : 0;
}
