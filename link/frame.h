// Frame: fixed header and one payload; moved, never shared; identical bytes on every carrier.
// docs/wire_format.md draws it.
#ifndef ISTHMUS_LINK_FRAME_H_
#define ISTHMUS_LINK_FRAME_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

inline constexpr uint16_t kWireVersion = 2;

// Numbers are on the wire and are never changed.
enum class FrameKind : uint8_t {
  kActivation = 1,      // edge, forward
  kGradient = 2,        // edge, backward
  kTargets = 3,         // client to the party with the loss (labels: server): ids to predict
  kLoss = 4,            // back: loss sums of a micro-batch
  kSharedGradient = 5,  // tied tensor at two parties
  kControl = 6,  // client <-> worker: one message of packet.proto (step begin, norms, commit,
                 // state, weights …)
  kAck = 7,      // link's own: frees kept bytes
  kPing = 8,     // link's own
  kKeyFrameRequest = 9,  // a decoder lost its state
  kGoodbye =
      10,  // link\'s own: the last frame of a link; payload empty, or a LinkWelcome that says why
};
absl::string_view Name(FrameKind kind);

// 48 bytes, little-endian, in this order on the wire.
struct FrameHeader {
  static constexpr int64_t kBytes = 48;
  FrameKind kind = FrameKind::kControl;
  uint8_t direction = 0;  // compression's Direction for edge frames
  uint8_t flags = 0;      // kEvaluation | …
  uint16_t edge = 0;
  uint32_t generation = 0;  // the plan in force
  uint64_t step = 0;
  uint32_t micro_batch = 0;
  uint64_t sequence =
      0;  // per link and direction, from 1; set by the link; 0 for the link's own frames
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;  // crc32c

  static constexpr uint8_t kEvaluation = 1;  // not training traffic
  static constexpr uint8_t kGeneration = 2;  // KV-cache generation
};

// The row of a report that a frame's bytes belong to. Its sender's knowledge, not on the wire: a
// received frame has none.
struct FrameAccount {
  bool counted = false;  // control, targets, losses and requests belong to no row
  uint16_t edge = 0;
  uint8_t direction = 0;
  uint8_t traffic = 0;      // the sender's kinds
  uint32_t side_bytes = 0;  // of the payload
};

struct Frame {
  FrameHeader header;
  Bytes payload;
  FrameAccount account;
};

// Writes the 48 bytes; fills payload_bytes and payload_crc and a checksum of the header itself.
void WriteFrameHeader(const Frame& frame, uint8_t out[FrameHeader::kBytes]);
// The same for a header whose payload_bytes and payload_crc are known.
void WriteFrameHeader(const FrameHeader& header, uint8_t out[FrameHeader::kBytes]);
// Checks magic, version, header checksum and size before anything is allocated. kInvalidArgument,
// or kUnimplemented naming both wire versions.
absl::StatusOr<FrameHeader> ParseFrameHeader(absl::Span<const uint8_t> bytes,
                                             int64_t max_payload_bytes);

// A whole message, in the pieces it arrived in: header, size, checksum; the payload is copied once.
// kInvalidArgument, or kUnimplemented naming both wire versions.
absl::StatusOr<Frame> ParseFrame(absl::Span<const absl::Span<const uint8_t>> pieces,
                                 int64_t max_payload_bytes);

// Bytes that one frame puts on the socket beside its payload: frame header + 5-byte gRPC prefix + 9
// bytes per 16 KiB HTTP/2 frame
// (+ 22 bytes per 16 KiB TLS record). The one function behind every byte count of reports and
// metrics.
int64_t WireHeaderBytes(int64_t payload_bytes, bool tls);

}  // namespace isthmus

#endif  // ISTHMUS_LINK_FRAME_H_
