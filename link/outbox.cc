#include "link/outbox.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"

namespace isthmus {

SealedFrame::SealedFrame(Frame frame, uint64_t sequence)
    : header_(frame.header), account_(frame.account), payload_(std::move(frame.payload)) {
  header_.sequence = sequence;
  header_.payload_bytes = static_cast<uint32_t>(payload_.size());
}

const uint8_t* SealedFrame::head() const {
  std::call_once(sealed_, [this] {
    FrameHeader header = header_;
    header.payload_crc = Crc32c(payload_);
    WriteFrameHeader(header, head_);
  });
  return head_;
}

SealedFramePtr SealOwnFrame(FrameKind kind, uint64_t received, Bytes payload) {
  Frame frame;
  frame.header.kind = kind;
  frame.header.step = received;
  frame.payload = std::move(payload);
  return std::make_shared<SealedFrame>(std::move(frame), 0);
}

void Outbox::Add(Frame frame, int64_t now_us) {
  auto sealed = std::make_shared<SealedFrame>(std::move(frame), ++last_sequence_);
  bytes_ += BytesOf(sealed->header().payload_bytes);
  kept_.push_back({std::move(sealed), now_us});
}

bool Outbox::Acknowledge(uint64_t sequence) {
  if (sequence > last_sequence_) return false;
  while (!kept_.empty() && kept_.front().frame->header().sequence <= sequence) {
    bytes_ -= BytesOf(kept_.front().frame->header().payload_bytes);
    kept_.pop_front();
    if (next_ > 0) --next_;
  }
  return true;
}

bool Outbox::Rewind(uint64_t received) {
  if (!Acknowledge(received)) return false;
  next_ = 0;
  flying_.clear();
  ack_owed_ = ping_owed_ = false;  // the handshake said what was received
  goodbye_chosen_ = goodbye_written_ = false;
  return true;
}

void Outbox::Clear() {
  kept_.clear();
  flying_.clear();
  goodbye_.reset();
  next_ = 0;
  bytes_ = 0;
  ack_owed_ = ping_owed_ = false;
}

SealedFramePtr Outbox::Choose(uint64_t delivered, int64_t* added_us) {
  *added_us = 0;
  if (ack_owed_) {
    ack_owed_ = false;
    return SealOwnFrame(FrameKind::kAck, delivered, {});
  }
  if (ping_owed_) {
    ping_owed_ = false;
    return SealOwnFrame(FrameKind::kPing, delivered, {});
  }
  if (goodbye_ != nullptr && !goodbye_chosen_) {
    goodbye_chosen_ = true;
    return goodbye_;
  }
  if (next_ < kept_.size()) {
    *added_us = kept_[next_].added_us;
    return kept_[next_++].frame;
  }
  return nullptr;
}

SealedFramePtr Outbox::Next(int64_t now_us, uint64_t delivered, LinkStats* stats,
                            int64_t* wake_us) {
  *wake_us = 0;
  // Into the shaper, one frame at a time: while one is in it the rest can still be overtaken by an
  // ack, and the host's other links have their turn. An ack does not use up the turn.
  while (shaper_ == nullptr || now_us >= egress_free_us_) {
    int64_t added_us = 0;
    SealedFramePtr frame = Choose(delivered, &added_us);
    if (frame == nullptr) break;
    if (shaper_ == nullptr) {
      Count(*frame, stats);
      return frame;
    }
    // A frame that waited follows its predecessor without a gap, however late the timer that brings
    // us here.
    const int64_t handed_us =
        added_us == 0 ? now_us : std::min(now_us, std::max(added_us, egress_free_us_));
    const int64_t payload_bytes = frame->header().payload_bytes;
    const int64_t due_us =
        shaper_->Departure(handed_us, payload_bytes + WireHeaderBytes(payload_bytes, tls_));
    if (frame->header().sequence != 0) egress_free_us_ = due_us - shaper_->delay_us();
    flying_.push_back({std::move(frame), due_us});
    if (!shaper_->shaped()) break;
  }
  if (!flying_.empty() && flying_.front().due_us <= now_us) {
    SealedFramePtr frame = std::move(flying_.front().frame);
    flying_.pop_front();
    Count(*frame, stats);
    return frame;
  }
  if (!flying_.empty()) {
    *wake_us = flying_.front().due_us;
    if (egress_free_us_ > now_us) *wake_us = std::min(*wake_us, egress_free_us_);
  }
  return nullptr;
}

void Outbox::Count(const SealedFrame& frame, LinkStats* stats) {
  const int64_t payload_bytes = frame.header().payload_bytes;
  const int64_t wire_bytes = payload_bytes + WireHeaderBytes(payload_bytes, tls_);
  stats->sent_bytes += wire_bytes;
  if (frame.header().kind == FrameKind::kGoodbye) goodbye_written_ = true;
  if (frame.header().sequence == 0) return;
  ++stats->sent_frames;
  // Acknowledged while it was in the shaper: a resend that came too late to be worth a second
  // count.
  const uint64_t first = last_sequence_ - kept_.size() + 1;
  if (frame.header().sequence < first) return;
  Kept& kept = kept_[frame.header().sequence - first];
  if (kept.written) {
    ++stats->resent_frames;
    stats->resent_bytes += wire_bytes;
    if (frame.account().counted) CountResent(frame);
  }
  kept.written = true;
}

void Outbox::CountResent(const SealedFrame& frame) {
  const FrameAccount& account = frame.account();
  auto row = std::find_if(resent_.begin(), resent_.end(), [&account](const ResentRow& r) {
    return r.edge == account.edge && r.direction == account.direction &&
           r.traffic == account.traffic;
  });
  if (row == resent_.end())
    row = resent_.insert(row, {account.edge, account.direction, account.traffic});
  const int64_t payload_bytes = frame.header().payload_bytes;
  row->frames += 1;
  row->payload_bytes += payload_bytes - account.side_bytes;
  row->side_bytes += account.side_bytes;
  row->header_bytes += WireHeaderBytes(payload_bytes, tls_);
}

}  // namespace isthmus
