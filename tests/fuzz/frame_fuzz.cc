// Any bytes, in any pieces: a frame that is accepted is within the limit and encodes to the same
// bytes again.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "link/frame.h"

namespace {

constexpr int64_t kMaxPayload = 4096;

void Try(const isthmus::Bytes& bytes, size_t piece_bytes) {
  std::vector<absl::Span<const uint8_t>> pieces;
  for (size_t at = 0; at < bytes.size(); at += piece_bytes)
    pieces.push_back(absl::MakeConstSpan(bytes).subspan(at, piece_bytes));
  const auto frame = isthmus::ParseFrame(pieces, kMaxPayload);
  if (!frame.ok()) return;
  ISTHMUS_CHECK(frame->payload.size() <= kMaxPayload);
  uint8_t head[isthmus::FrameHeader::kBytes];
  isthmus::WriteFrameHeader(*frame, head);
  ISTHMUS_CHECK(std::memcmp(head, bytes.data(), sizeof(head)) == 0);
  ISTHMUS_CHECK(absl::MakeConstSpan(frame->payload) ==
                absl::MakeConstSpan(bytes).subspan(sizeof(head)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece_bytes = 1 + data[0] % 64;
  isthmus::Bytes bytes(data + 1, data + size);
  Try(bytes, piece_bytes);
  // Checksums are not guessed: mended, the fields behind them are reached.
  constexpr size_t kHeader = isthmus::FrameHeader::kBytes;
  if (bytes.size() < kHeader) return 0;
  const uint32_t magic = 0x48545349;
  const uint16_t version = isthmus::kWireVersion;
  const auto payload_bytes = static_cast<uint32_t>(bytes.size() - kHeader);
  const uint32_t payload_crc = isthmus::Crc32c(absl::MakeConstSpan(bytes).subspan(kHeader));
  std::memcpy(bytes.data(), &magic, 4);
  std::memcpy(bytes.data() + 4, &version, 2);
  if (data[0] & 0x80) std::memcpy(bytes.data() + 36, &payload_bytes, 4);
  std::memcpy(bytes.data() + 40, &payload_crc, 4);
  const uint32_t header_crc = isthmus::Crc32c(absl::MakeConstSpan(bytes).subspan(0, 44));
  std::memcpy(bytes.data() + 44, &header_crc, 4);
  Try(bytes, piece_bytes);
  return 0;
}
