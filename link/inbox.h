// Inbox: the slots a schedule will ask for and one ordered queue of control frames; the only place
// a stage thread waits.
//
// Several links feed one Inbox (one InboxFeed each). Bounds come from the Plan: what the schedule
// cannot have asked for is refused, never stored.
//
// Threads: Put and Fail from any thread and never block. Any number of threads may Take; each frame
// goes to one of them.
#ifndef ISTHMUS_LINK_INBOX_H_
#define ISTHMUS_LINK_INBOX_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <tuple>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "link/frame.h"
#include "link/link.h"

namespace isthmus {

// A frame and the party whose link brought it.
struct Received {
  uint32_t party = 0;
  Frame frame;
};

class Inbox {
 public:
  // Every number is a hard bound; a peer that exceeds one is in error.
  struct Bounds {
    uint32_t edges = 1;          // frames name edges below this
    uint32_t micro_batches = 1;  // and micro-batches below this
    int64_t slot_frames = 4096;  // filled slots at a time
    int64_t slot_bytes = int64_t{1} << 30;
    int64_t control_frames = 1024;  // control frames waiting at a time
    int64_t control_bytes = int64_t{1} << 30;
  };
  // The address of one frame of a step. Steps never overlap in one slot: the schedule takes a slot
  // before its peer may fill it again.
  struct Slot {
    FrameKind kind = FrameKind::kActivation;
    uint16_t edge = 0;
    uint32_t micro_batch = 0;
  };
  static constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

  explicit Inbox(const Bounds& bounds) : bounds_(bounds) {}
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // kControl and kKeyFrameRequest join the control queue, in the order of Put; activations,
  // gradients, targets, losses and shared gradients fill their slot. kInvalidArgument: a filled
  // slot, an edge or micro-batch out of bounds, a link's own frame. kResourceExhausted: a bound is
  // reached. The frame is dropped in both cases.
  absl::Status Put(Frame frame, uint32_t party = 0);

  // Waits for one slot, until `deadline_us` (of NowUs(); kForever waits without one). Slots have no
  // order among each other: the frame of micro-batch 3 may be taken before that of micro-batch 0,
  // whatever came first. A frame that is there is returned even after Fail and after the deadline;
  // only then the failure, only then kDeadlineExceeded naming the slot.
  absl::StatusOr<Frame> Take(FrameKind kind, uint16_t edge, uint32_t micro_batch,
                             int64_t deadline_us);
  // The oldest control frame: frames of one link come in the order they were sent, frames of
  // several links as they arrived.
  absl::StatusOr<Received> TakeControlFrom(int64_t deadline_us);
  absl::StatusOr<Frame> TakeControl(int64_t deadline_us);
  // The oldest control frame if `or_control`, else the first filled slot in the order of `slots`;
  // waits for either.
  absl::StatusOr<Received> TakeAnyOf(absl::Span<const Slot> slots, bool or_control,
                                     int64_t deadline_us);

  // Wakes every waiter; from now on a Take that finds nothing returns `status` (must not be OK).
  // The first failure stays.
  void Fail(absl::Status status);
  absl::Status failure() const;
  // Drops every frame and the failure: a step is given up and begun again.
  void Clear();
  int64_t waiting_bytes() const;  // payloads in slots and queue

 private:
  using Key = std::tuple<FrameKind, uint16_t, uint32_t>;

  absl::Status PutControl(Received received) ISTHMUS_REQUIRES(mutex_);
  absl::Status PutSlot(Received received) ISTHMUS_REQUIRES(mutex_);
  bool Find(absl::Span<const Slot> slots, bool or_control, Received* found)
      ISTHMUS_REQUIRES(mutex_);

  const Bounds bounds_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::map<Key, Received> slots_ ISTHMUS_GUARDED_BY(mutex_);
  std::deque<Received> control_ ISTHMUS_GUARDED_BY(mutex_);
  int64_t slot_bytes_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  int64_t control_bytes_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  absl::Status failure_ ISTHMUS_GUARDED_BY(mutex_);
};

// The listener that puts one link's frames into an Inbox. A frame that is refused fails the Inbox,
// with the peer named.
class InboxFeed : public LinkListener {
 public:
  using Closed = std::function<void(absl::Status)>;  // on the link's thread; must not block
  // `inbox` outlives the feed. Without `closed`, the end of the link fails the Inbox (kUnavailable
  // after a close in good order).
  InboxFeed(Inbox* inbox, uint32_t party, Closed closed = nullptr);
  void OnFrame(Frame frame) override;
  void OnClosed(absl::Status status) override;

 private:
  Inbox* const inbox_;
  const uint32_t party_;
  const Closed closed_;
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_INBOX_H_
