// Outbox: the sending half of a link. Numbers frames, keeps them until they are acknowledged, and
// says what goes on the wire next.
//
// Pure logic: times are arguments, nothing waits, nothing locks (ReliableLink holds its mutex
// around every call).
#ifndef ISTHMUS_LINK_OUTBOX_H_
#define ISTHMUS_LINK_OUTBOX_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "link/frame.h"
#include "link/link.h"
#include "link/shaper.h"

namespace isthmus {

// One message as it is on the wire: 48 bytes and the payload. Made once, sent as often as needed.
class SealedFrame {
 public:
  SealedFrame(Frame frame, uint64_t sequence);
  const FrameHeader& header() const { return header_; }  // without payload_crc
  const FrameAccount& account() const { return account_; }
  const Bytes& payload() const { return payload_; }
  // The 48 bytes, with the checksums: computed at the first call, which is when the payload is
  // about to be read anyway. From any thread.
  const uint8_t* head() const;

 private:
  FrameHeader header_;
  const FrameAccount account_;
  const Bytes payload_;
  mutable std::once_flag sealed_;
  mutable uint8_t head_[FrameHeader::kBytes];
};
using SealedFramePtr = std::shared_ptr<const SealedFrame>;

// A link's own frame (sequence 0): an ack or ping with `received` in the step field, a goodbye, the
// first message of a stream.
SealedFramePtr SealOwnFrame(FrameKind kind, uint64_t received, Bytes payload);

class Outbox {
 public:
  // `shaper` may be null.
  Outbox(std::shared_ptr<Shaper> shaper, bool tls) : shaper_(std::move(shaper)), tls_(tls) {}

  // The next sequence number is the frame's.
  void Add(Frame frame, int64_t now_us);
  // Frees what the peer has. False when it names a frame that was never sent.
  bool Acknowledge(uint64_t sequence);
  // A new connection to a peer that has everything up to `received`: what is beyond is sent again.
  // False as above.
  bool Rewind(uint64_t received);

  void OweAck() { ack_owed_ = true; }
  void OwePing() { ping_owed_ = true; }
  // Goes before frames that wait: a link that says it without waiting for them gives them up.
  void SayGoodbye(SealedFramePtr goodbye) { goodbye_ = std::move(goodbye); }
  bool goodbye_written() const { return goodbye_written_; }

  // The message to write now (counted in `stats`), or null and in `wake_us` when to ask again (0:
  // when something changes). `delivered` is what an ack says. Own frames go first: an ack waits for
  // one frame at most, however long the queue.
  SealedFramePtr Next(int64_t now_us, uint64_t delivered, LinkStats* stats, int64_t* wake_us);

  // What was sent again since the last call, by row of the report.
  std::vector<ResentRow> TakeResent() { return std::exchange(resent_, {}); }

  // Drops everything: the link is over.
  void Clear();
  bool empty() const { return kept_.empty(); }
  size_t frames() const { return kept_.size(); }
  int64_t bytes() const { return bytes_; }  // kept plus waiting, headers included
  static int64_t BytesOf(int64_t payload_bytes) { return payload_bytes + FrameHeader::kBytes; }

 private:
  struct Kept {
    SealedFramePtr frame;
    int64_t added_us;
    bool written = false;  // at least once, on whatever connection
  };
  struct Flying {  // through the egress shaper, waiting for the delay
    SealedFramePtr frame;
    int64_t due_us;
  };
  SealedFramePtr Choose(uint64_t delivered, int64_t* added_us);
  void Count(const SealedFrame& frame, LinkStats* stats);
  void CountResent(const SealedFrame& frame);

  const std::shared_ptr<Shaper> shaper_;
  const bool tls_;

  uint64_t last_sequence_ = 0;
  size_t next_ = 0;        // index into kept_ of the first frame that this connection has not seen
  std::deque<Kept> kept_;  // sequence numbers last_sequence_ - size + 1 … last_sequence_
  int64_t bytes_ = 0;

  bool ack_owed_ = false;
  bool ping_owed_ = false;
  SealedFramePtr goodbye_;
  bool goodbye_chosen_ = false;
  bool goodbye_written_ = false;

  std::vector<ResentRow> resent_;  // a few: edges, directions and kinds of traffic

  std::deque<Flying> flying_;
  int64_t egress_free_us_ = 0;  // when this link's last frame is through the egress shaper
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_OUTBOX_H_
