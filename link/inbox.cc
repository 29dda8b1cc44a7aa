#include "link/inbox.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"

namespace isthmus {
namespace {

std::string Describe(FrameKind kind, uint16_t edge, uint32_t micro_batch) {
  return absl::StrCat(Name(kind), " of edge ", edge, ", micro-batch ", micro_batch);
}

std::string Describe(absl::Span<const Inbox::Slot> slots, bool or_control) {
  std::string text = absl::StrJoin(slots, " or ", [](std::string* out, const Inbox::Slot& slot) {
    absl::StrAppend(out, Describe(slot.kind, slot.edge, slot.micro_batch));
  });
  if (or_control) absl::StrAppend(&text, text.empty() ? "" : " or ", "a control frame");
  return text;
}

// NowUs() counts the same clock.
std::chrono::steady_clock::time_point TimePoint(int64_t us) {
  return std::chrono::steady_clock::time_point(std::chrono::microseconds(us));
}

}  // namespace

absl::Status Inbox::Put(Frame frame, uint32_t party) {
  MutexLock lock(&mutex_);
  absl::Status status;
  switch (frame.header.kind) {
    case FrameKind::kControl:
    case FrameKind::kKeyFrameRequest:
      status = PutControl({party, std::move(frame)});
      break;
    case FrameKind::kActivation:
    case FrameKind::kGradient:
    case FrameKind::kTargets:
    case FrameKind::kLoss:
    case FrameKind::kSharedGradient:
      status = PutSlot({party, std::move(frame)});
      break;
    default:
      return InvalidArgument("inbox: expected a frame for a stage, got ", Name(frame.header.kind),
                             " (party ", party, ")");
  }
  if (status.ok()) changed_.SignalAll();
  return status;
}

absl::Status Inbox::PutControl(Received received) {
  const int64_t bytes = static_cast<int64_t>(received.frame.payload.size());
  if (static_cast<int64_t>(control_.size()) >= bounds_.control_frames ||
      control_bytes_ + bytes > bounds_.control_bytes) {
    return ResourceExhausted("inbox: expected at most ", bounds_.control_frames,
                             " control frames of ", bounds_.control_bytes,
                             " bytes, got one more of ", bytes, " bytes (party ", received.party,
                             ")");
  }
  control_bytes_ += bytes;
  control_.push_back(std::move(received));
  return absl::OkStatus();
}

absl::Status Inbox::PutSlot(Received received) {
  const FrameHeader& header = received.frame.header;
  const int64_t bytes = static_cast<int64_t>(received.frame.payload.size());
  if (header.edge >= bounds_.edges || header.micro_batch >= bounds_.micro_batches) {
    return InvalidArgument("inbox: expected edges below ", bounds_.edges,
                           " and micro-batches below ", bounds_.micro_batches, ", got ",
                           Describe(header.kind, header.edge, header.micro_batch), " (party ",
                           received.party, ")");
  }
  const Key key(header.kind, header.edge, header.micro_batch);
  if (slots_.contains(key)) {
    return InvalidArgument("inbox: expected an empty slot, got a second ",
                           Describe(header.kind, header.edge, header.micro_batch), " (step ",
                           header.step, ", party ", received.party, ")");
  }
  if (static_cast<int64_t>(slots_.size()) >= bounds_.slot_frames ||
      slot_bytes_ + bytes > bounds_.slot_bytes) {
    return ResourceExhausted("inbox: expected at most ", bounds_.slot_frames, " frames of ",
                             bounds_.slot_bytes, " bytes, got one more of ", bytes,
                             " bytes (party ", received.party, ")");
  }
  slot_bytes_ += bytes;
  slots_.emplace(key, std::move(received));
  return absl::OkStatus();
}

bool Inbox::Find(absl::Span<const Slot> slots, bool or_control, Received* found) {
  if (or_control && !control_.empty()) {
    *found = std::move(control_.front());
    control_.pop_front();
    control_bytes_ -= static_cast<int64_t>(found->frame.payload.size());
    return true;
  }
  for (const Slot& slot : slots) {
    const auto it = slots_.find(Key(slot.kind, slot.edge, slot.micro_batch));
    if (it == slots_.end()) continue;
    *found = std::move(it->second);
    slots_.erase(it);
    slot_bytes_ -= static_cast<int64_t>(found->frame.payload.size());
    return true;
  }
  return false;
}

absl::StatusOr<Received> Inbox::TakeAnyOf(absl::Span<const Slot> slots, bool or_control,
                                          int64_t deadline_us) {
  Received found;
  MutexLock lock(&mutex_);
  bool in_time = true;
  while (!Find(slots, or_control, &found)) {
    if (!failure_.ok()) return failure_;
    if (!in_time)
      return absl::DeadlineExceededError(
          absl::StrCat("inbox: expected ", Describe(slots, or_control), ", got nothing in time"));
    if (deadline_us == kForever) {
      changed_.Wait(&mutex_);
    } else {
      in_time = changed_.WaitUntil(&mutex_, TimePoint(deadline_us));
    }
  }
  return found;
}

absl::StatusOr<Frame> Inbox::Take(FrameKind kind, uint16_t edge, uint32_t micro_batch,
                                  int64_t deadline_us) {
  const Slot slot{kind, edge, micro_batch};
  ISTHMUS_ASSIGN_OR_RETURN(Received received, TakeAnyOf({&slot, 1}, false, deadline_us));
  return std::move(received.frame);
}

absl::StatusOr<Received> Inbox::TakeControlFrom(int64_t deadline_us) {
  return TakeAnyOf({}, true, deadline_us);
}

absl::StatusOr<Frame> Inbox::TakeControl(int64_t deadline_us) {
  ISTHMUS_ASSIGN_OR_RETURN(Received received, TakeControlFrom(deadline_us));
  return std::move(received.frame);
}

void Inbox::Fail(absl::Status status) {
  ISTHMUS_CHECK(!status.ok());
  MutexLock lock(&mutex_);
  if (failure_.ok()) failure_ = std::move(status);
  changed_.SignalAll();
}

absl::Status Inbox::failure() const {
  MutexLock lock(&mutex_);
  return failure_;
}

void Inbox::Clear() {
  MutexLock lock(&mutex_);
  slots_.clear();
  control_.clear();
  slot_bytes_ = control_bytes_ = 0;
  failure_ = absl::OkStatus();
}

int64_t Inbox::waiting_bytes() const {
  MutexLock lock(&mutex_);
  return slot_bytes_ + control_bytes_;
}

InboxFeed::InboxFeed(Inbox* inbox, uint32_t party, Closed closed)
    : inbox_(inbox), party_(party), closed_(std::move(closed)) {}

void InboxFeed::OnFrame(Frame frame) {
  if (absl::Status status = inbox_->Put(std::move(frame), party_); !status.ok())
    inbox_->Fail(std::move(status));
}

void InboxFeed::OnClosed(absl::Status status) {
  if (closed_ != nullptr) return closed_(std::move(status));
  inbox_->Fail(status.ok() ? Unavailable("link: expected it open, got a close by party ", party_)
                           : std::move(status));
}

}  // namespace isthmus
