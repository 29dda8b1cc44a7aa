// Arbitrary text into the codec grammar: never a crash, and what parses has a canonical form that
// parses to itself.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "compression/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto codec =
      isthmus::Codec::Parse(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!codec.ok()) return 0;
  const auto again = isthmus::Codec::Parse((*codec)->canonical());
  ISTHMUS_CHECK(again.ok() && (*again)->canonical() == (*codec)->canonical());
  ISTHMUS_CHECK(isthmus::Codec::Parse((*codec)->BackwardText()).ok());
  return 0;
}
