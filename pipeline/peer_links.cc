#include "pipeline/peer_links.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/status.h"

namespace isthmus {

absl::Status PeerLinks::Add(uint32_t party, std::unique_ptr<Link> link) {
  Link* started = nullptr;
  InboxFeed* feed = nullptr;
  {
    MutexLock lock(&mutex_);
    Peer& peer = peers_[party];
    if (peer.link != nullptr)
      return InvalidArgument("link: expected one of party ", party, ", got a second");
    peer.feed = std::make_unique<InboxFeed>(inbox_, party);
    peer.link = std::move(link);
    started = peer.link.get();
    feed = peer.feed.get();
  }
  started->Start(feed);
  added_.SignalAll();
  return absl::OkStatus();
}

absl::Status PeerLinks::Await(uint32_t party, int64_t deadline_us) {
  // Short waits, because a failure of the inbox must end this one as well.
  constexpr int64_t kSliceUs = 50'000;
  for (;;) {
    {
      MutexLock lock(&mutex_);
      const auto it = peers_.find(party);
      if (it != peers_.end() && it->second.link != nullptr) return absl::OkStatus();
      added_.WaitUntil(&mutex_,
                       std::chrono::steady_clock::now() + std::chrono::microseconds(kSliceUs));
    }
    ISTHMUS_RETURN_IF_ERROR(inbox_->failure());
    if (NowUs() > deadline_us)
      return absl::DeadlineExceededError(
          absl::StrCat("link: expected one of party ", party, " in time, got none"));
  }
}

Link* PeerLinks::Find(uint32_t party) const {
  MutexLock lock(&mutex_);
  const auto it = peers_.find(party);
  return it == peers_.end() ? nullptr : it->second.link.get();
}

absl::Status PeerLinks::Send(uint32_t party, Frame frame) {
  Link* link = Find(party);
  if (link == nullptr) return Internal("link: expected one to party ", party, ", got none");
  const absl::Status status = link->Send(std::move(frame));
  // Why the inbox failed says more than that the link is over.
  if (!status.ok() && !inbox_->failure().ok()) return inbox_->failure();
  return status;
}

bool PeerLinks::tls(uint32_t party) const {
  const Link* link = Find(party);
  return link != nullptr && link->tls();
}

absl::Status PeerLinks::SendPacket(uint32_t party, const v1::Packet& packet) {
  Frame frame;
  frame.header.kind = FrameKind::kControl;
  frame.payload.resize(packet.ByteSizeLong());
  packet.SerializeToArray(frame.payload.data(), static_cast<int>(frame.payload.size()));
  return Send(party, std::move(frame));
}

void PeerLinks::CloseAll(int64_t timeout_us) {
  std::vector<Link*> links;
  {
    MutexLock lock(&mutex_);
    for (auto& [party, peer] : peers_) links.push_back(peer.link.get());
  }
  for (Link* link : links)
    link->Close(timeout_us)
        .IgnoreError();  // the peer may be gone: nothing is lost by that any more
}

std::vector<ResentRow> PeerLinks::TakeResent() {
  std::vector<ResentRow> all;
  MutexLock lock(&mutex_);
  for (auto& [party, peer] : peers_)
    for (const ResentRow& row : peer.link->TakeResent()) all.push_back(row);
  return all;
}

LinkStats PeerLinks::TotalStats() const {
  LinkStats total;
  MutexLock lock(&mutex_);
  for (const auto& [party, peer] : peers_) {
    const LinkStats s = peer.link->stats();
    total.sent_frames += s.sent_frames;
    total.sent_bytes += s.sent_bytes;
    total.received_frames += s.received_frames;
    total.received_bytes += s.received_bytes;
    total.resent_frames += s.resent_frames;
    total.resent_bytes += s.resent_bytes;
    total.reconnects += s.reconnects;
    total.queued_bytes += s.queued_bytes;
    total.peak_queued_bytes = std::max(total.peak_queued_bytes, s.peak_queued_bytes);
  }
  return total;
}

absl::StatusOr<v1::Packet> ParsePacket(const Frame& frame) {
  v1::Packet packet;
  if (frame.header.kind != FrameKind::kControl ||
      !packet.ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size())))
    return InvalidArgument("control frame: expected a message, got ", frame.payload.size(),
                           " other bytes");
  return packet;
}

absl::Status FailureStatus(const v1::Failure& failure, absl::string_view peer) {
  const int code = failure.code() > 0 && failure.code() <= 16
                       ? failure.code()
                       : static_cast<int>(absl::StatusCode::kInternal);
  return absl::Status(static_cast<absl::StatusCode>(code),
                      absl::StrCat(peer, ": ", failure.message()));
}

v1::EdgeUse EdgeUseToProto(const StageRunner::EdgeReport& report) {
  v1::EdgeUse p;
  p.set_edge(report.edge);
  p.set_direction(static_cast<uint32_t>(report.direction));
  p.set_traffic(static_cast<uint32_t>(report.traffic));
  p.set_elements(report.use.elements);
  p.set_frames(report.use.frames);
  p.set_payload_bytes(report.use.payload_bytes);
  p.set_side_bytes(report.use.side_bytes);
  p.set_header_bytes(report.use.header_bytes);
  p.set_key_frames(report.use.key_frames);
  p.set_resends(report.use.resends);
  p.set_resend_bytes(report.use.resend_bytes);
  return p;
}

StageRunner::EdgeReport EdgeUseFromProto(const v1::EdgeUse& p) {
  const Direction direction = p.direction() == 0 ? Direction::kForward : Direction::kBackward;
  const EdgeUse use{p.elements(),     p.frames(),     p.payload_bytes(), p.side_bytes(),
                    p.header_bytes(), p.key_frames(), p.resends(),       p.resend_bytes()};
  return {p.edge(), direction,
          static_cast<Traffic>(std::min<uint32_t>(p.traffic(), kTrafficKinds - 1)), use};
}

}  // namespace isthmus
