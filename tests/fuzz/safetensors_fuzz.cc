// The safetensors reader over any bytes: a Status or tensors whose every byte can be read.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "model/safetensors.h"

namespace {

// Half of the inputs get a true header length in front, so that the search is not stuck at the
// first eight bytes.
std::vector<uint8_t> Framed(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes;
  if (size == 0 || data[0] % 2 == 0) return {data, data + size};
  const size_t header = size == 1 ? 0 : (size - 1) - data[0] / 2 % size;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<uint8_t>(uint64_t{header} >> (8 * i)));
  bytes.insert(bytes.end(), data + 1, data + size);
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto bytes = std::make_shared<std::vector<uint8_t>>(Framed(data, size));
  const auto file = isthmus::Safetensors::Parse(*bytes, bytes, "fuzz");
  if (!file.ok()) {
    ISTHMUS_CHECK(absl::IsInvalidArgument(file.status()));
    return 0;
  }
  uint32_t crc = 0;
  for (const auto& [name, tensor] : (*file)->tensors()) {
    crc = isthmus::Crc32c(tensor.bytes(), crc);
  }
  return crc == 1 ? -1 : 0;
}
