// The first and last messages of a stream, with any payload.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "link/handshake.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isthmus::Frame frame;
  frame.header.kind = isthmus::FrameKind::kControl;
  frame.payload.assign(data, data + size);
  if (const auto hello = isthmus::ParseHello(frame); hello.ok())
    ISTHMUS_CHECK(hello->wire_version() == isthmus::kWireVersion);
  (void)isthmus::ParseWelcome(frame);
  frame.header.kind = isthmus::FrameKind::kGoodbye;
  const absl::Status goodbye = isthmus::ParseGoodbye(frame);
  ISTHMUS_CHECK(goodbye.ok() == (size == 0));  // words of any kind are a reason
  ISTHMUS_CHECK(goodbye.message().find('\n') == absl::string_view::npos);
  return 0;
}
