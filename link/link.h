// Link: ordered, exactly-once frames to one peer within a generation. Survives a reconnect by
// re-sending kept bytes.
//
// Carriers: gRPC (link/grpc_link.h), loopback with a fault plan (link/loopback.h). One contract
// suite runs on each.
//
// Threads: Send from any thread. Listener calls come one at a time from the link's own thread and
// must not block.
#ifndef ISTHMUS_LINK_LINK_H_
#define ISTHMUS_LINK_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "link/frame.h"

namespace isthmus {

struct LinkOptions {
  int64_t max_payload_bytes = int64_t{1} << 30;  // checked before allocation
  int64_t window_bytes = int64_t{64}
                         << 20;  // kept (sent, not acknowledged) plus waiting; Send blocks beyond
  int64_t reconnect_us = 8'000'000;  // gives up after this long without a connection
  int64_t keepalive_us = 2'000'000;  // ping when idle; the peer is dead after 3 unanswered
};

struct LinkStats {
  int64_t sent_frames = 0,
          sent_bytes = 0;  // bytes as WireHeaderBytes counts them, resends included
  int64_t received_frames = 0, received_bytes = 0;
  int64_t resent_frames = 0, resent_bytes = 0;
  int64_t reconnects = 0;
  int64_t queued_bytes = 0, peak_queued_bytes = 0;  // kept plus waiting
};

// Frames of one row that a link sent again, and all that they put on the socket by it.
struct ResentRow {
  uint16_t edge = 0;
  uint8_t direction = 0;
  uint8_t traffic = 0;
  int64_t frames = 0;
  int64_t payload_bytes = 0;  // without side_bytes
  int64_t side_bytes = 0;
  int64_t header_bytes = 0;
};

class LinkListener {
 public:
  virtual ~LinkListener() = default;
  virtual void OnFrame(Frame frame) = 0;
  // The link is over: OK after the peer closed it in good order, else why. Nothing comes after it.
  virtual void OnClosed(absl::Status status) = 0;
};

class Link {
 public:
  virtual ~Link() =
      default;  // closes at once; no listener call is running or comes after it returns
  // The listener outlives the link. Frames that came before Start are kept (within the window).
  virtual void Start(LinkListener* listener) = 0;
  // Takes the frame, gives it a sequence number. Waits while the window is full. kUnavailable once
  // the link is over; kInvalidArgument for a payload beyond max_payload_bytes.
  virtual absl::Status Send(Frame frame) = 0;
  // Flushes what was sent (until acknowledged or `timeout_us`), then closes in good order.
  virtual absl::Status Close(int64_t timeout_us) = 0;
  virtual LinkStats stats() const = 0;
  // By row, since the last call. A frame is counted before it leaves: who knows that the peer has
  // it finds it here.
  virtual std::vector<ResentRow> TakeResent() = 0;
  virtual std::string peer() const = 0;  // "worker w1 at 127.0.0.1:7601"
  virtual bool tls() const = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_LINK_H_
