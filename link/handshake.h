// The first message of a stream in each direction, and the last: protobuf messages of link.proto
// behind a frame header.
#ifndef ISTHMUS_LINK_HANDSHAKE_H_
#define ISTHMUS_LINK_HANDSHAKE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "isthmus/v1/link.pb.h"
#include "link/frame.h"
#include "link/outbox.h"

namespace isthmus {

// Larger first messages are refused before they are parsed.
inline constexpr int64_t kMaxHandshakeBytes = 64 << 10;

SealedFramePtr SealHello(const v1::LinkHello& hello);
absl::StatusOr<v1::LinkHello> ParseHello(const Frame& frame);

// `refusal` OK: welcome, and what this side has received.
SealedFramePtr SealWelcome(uint64_t received, const absl::Status& refusal);
// The received number, or what the peer refused with its code and words.
absl::StatusOr<uint64_t> ParseWelcome(const Frame& frame);

// OK: a close in good order.
SealedFramePtr SealGoodbye(const absl::Status& why);
absl::Status ParseGoodbye(const Frame& frame);

}  // namespace isthmus

#endif  // ISTHMUS_LINK_HANDSHAKE_H_
