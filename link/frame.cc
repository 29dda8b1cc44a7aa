#include "link/frame.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/status.h"

namespace isthmus {
namespace {

//  0        4         6      7           8       9   10     12           16
//  | "ISTH" | version | kind | direction | flags | 0 | edge | generation | step (8)
//  24            28             36              40            44           48
//  | micro_batch | sequence (8) | payload_bytes | payload_crc | header_crc | payload …
constexpr uint32_t kMagic = 0x48545349;  // "ISTH"
constexpr size_t kHeaderCrcAt = 44;

constexpr int64_t kGrpcPrefixBytes = 5;      // compressed flag and length
constexpr int64_t kHttp2FrameBytes = 16384;  // SETTINGS_MAX_FRAME_SIZE both sides announce
constexpr int64_t kHttp2HeaderBytes = 9;
constexpr int64_t kTlsRecordBytes = 16384;
constexpr int64_t kTlsHeaderBytes = 22;  // TLS 1.3: 5 record header, 1 content type, 16 tag

class FieldWriter {
 public:
  explicit FieldWriter(uint8_t* out) : out_(out) {}
  template <typename T>
  void Put(T value) {
    std::memcpy(out_, &value, sizeof(T));
    out_ += sizeof(T);
  }

 private:
  uint8_t* out_;
};

class FieldReader {
 public:
  explicit FieldReader(const uint8_t* in) : in_(in) {}
  template <typename T>
  T Get() {
    T value;
    std::memcpy(&value, in_, sizeof(T));
    in_ += sizeof(T);
    return value;
  }

 private:
  const uint8_t* in_;
};

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

absl::string_view Name(FrameKind kind) {
  switch (kind) {
    case FrameKind::kActivation:
      return "activation";
    case FrameKind::kGradient:
      return "gradient";
    case FrameKind::kTargets:
      return "targets";
    case FrameKind::kLoss:
      return "loss";
    case FrameKind::kSharedGradient:
      return "shared gradient";
    case FrameKind::kControl:
      return "control";
    case FrameKind::kAck:
      return "ack";
    case FrameKind::kPing:
      return "ping";
    case FrameKind::kKeyFrameRequest:
      return "key frame request";
    case FrameKind::kGoodbye:
      return "goodbye";
  }
  return "unknown";
}

void WriteFrameHeader(const FrameHeader& header, uint8_t out[FrameHeader::kBytes]) {
  FieldWriter writer(out);
  writer.Put(kMagic);
  writer.Put(kWireVersion);
  writer.Put(header.kind);
  writer.Put(header.direction);
  writer.Put(header.flags);
  writer.Put(uint8_t{0});
  writer.Put(header.edge);
  writer.Put(header.generation);
  writer.Put(header.step);
  writer.Put(header.micro_batch);
  writer.Put(header.sequence);
  writer.Put(header.payload_bytes);
  writer.Put(header.payload_crc);
  writer.Put(Crc32c({out, kHeaderCrcAt}));
}

void WriteFrameHeader(const Frame& frame, uint8_t out[FrameHeader::kBytes]) {
  FrameHeader header = frame.header;
  header.payload_bytes = static_cast<uint32_t>(frame.payload.size());
  header.payload_crc = Crc32c(frame.payload);
  WriteFrameHeader(header, out);
}

absl::StatusOr<FrameHeader> ParseFrameHeader(absl::Span<const uint8_t> bytes,
                                             int64_t max_payload_bytes) {
  if (bytes.size() < static_cast<size_t>(FrameHeader::kBytes)) {
    return InvalidArgument("frame: expected a header of ", FrameHeader::kBytes, " bytes, got ",
                           bytes.size());
  }
  FieldReader reader(bytes.data());
  if (const auto magic = reader.Get<uint32_t>(); magic != kMagic) {
    return InvalidArgument("frame: expected the magic \"ISTH\", got 0x",
                           absl::Hex(magic, absl::kZeroPad8));
  }
  // The version comes before the checksum: another version may sum other bytes.
  if (const auto version = reader.Get<uint16_t>(); version != kWireVersion) {
    return Unimplemented("wire version: expected ", kWireVersion, ", got ", version);
  }
  FrameHeader header;
  const auto kind = reader.Get<uint8_t>();
  header.direction = reader.Get<uint8_t>();
  header.flags = reader.Get<uint8_t>();
  const auto reserved = reader.Get<uint8_t>();
  header.edge = reader.Get<uint16_t>();
  header.generation = reader.Get<uint32_t>();
  header.step = reader.Get<uint64_t>();
  header.micro_batch = reader.Get<uint32_t>();
  header.sequence = reader.Get<uint64_t>();
  header.payload_bytes = reader.Get<uint32_t>();
  header.payload_crc = reader.Get<uint32_t>();
  const auto header_crc = reader.Get<uint32_t>();
  if (const uint32_t sum = Crc32c(bytes.subspan(0, kHeaderCrcAt)); sum != header_crc) {
    return InvalidArgument("frame: expected a header with checksum ", header_crc, ", got ", sum);
  }
  if (kind < static_cast<uint8_t>(FrameKind::kActivation) ||
      kind > static_cast<uint8_t>(FrameKind::kGoodbye) || reserved != 0) {
    return InvalidArgument("frame: expected a kind of 1 to 10, got ", kind, " (reserved byte ",
                           reserved, ")");
  }
  header.kind = static_cast<FrameKind>(kind);
  if (int64_t{header.payload_bytes} > max_payload_bytes) {
    return InvalidArgument("frame: expected a payload of at most ", max_payload_bytes,
                           " bytes, got ", header.payload_bytes);
  }
  return header;
}

absl::StatusOr<Frame> ParseFrame(absl::Span<const absl::Span<const uint8_t>> pieces,
                                 int64_t max_payload_bytes) {
  uint8_t head[FrameHeader::kBytes];
  size_t have = 0;
  size_t total = 0;
  for (const auto& piece : pieces) {
    const size_t take = std::min(piece.size(), sizeof(head) - have);
    if (take > 0) std::memcpy(head + have, piece.data(), take);
    have += take;
    total += piece.size();
  }
  Frame frame;
  ISTHMUS_ASSIGN_OR_RETURN(frame.header, ParseFrameHeader({head, have}, max_payload_bytes));
  if (total - have != frame.header.payload_bytes) {
    return InvalidArgument("frame: expected a payload of ", frame.header.payload_bytes,
                           " bytes, got ", total - have);
  }
  frame.payload.reserve(frame.header.payload_bytes);  // not resize: it would write every byte twice
  uint32_t crc = 0;
  size_t skip = have;
  for (const auto& piece : pieces) {
    const auto part = piece.subspan(std::min(skip, piece.size()));
    skip -= piece.size() - part.size();
    crc = Crc32c(part, crc);
    frame.payload.insert(frame.payload.end(), part.begin(), part.end());
  }
  if (crc != frame.header.payload_crc) {
    return InvalidArgument("frame: expected a payload with checksum ", frame.header.payload_crc,
                           ", got ", crc);
  }
  return frame;
}

int64_t WireHeaderBytes(int64_t payload_bytes, bool tls) {
  const int64_t message = kGrpcPrefixBytes + FrameHeader::kBytes + payload_bytes;
  const int64_t http2 = message + kHttp2HeaderBytes * CeilDiv(message, kHttp2FrameBytes);
  const int64_t records = tls ? CeilDiv(http2, kTlsRecordBytes) : 0;
  return http2 + kTlsHeaderBytes * records - payload_bytes;
}

}  // namespace isthmus
