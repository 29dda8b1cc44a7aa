#include "link/reliable_link.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "link/handshake.h"
#include "link/timers.h"

namespace isthmus {
namespace {

// Acks travel against the data: 62 bytes per 2 MiB or per 5 ms, whichever comes first.
constexpr int64_t kAckBytes = 2 << 20;
constexpr int64_t kAckDelayUs = 5'000;
// How long a last word may take to reach the peer before the connection is cut.
constexpr int64_t kGraceUs = 500'000;
// Damage on the way is repaired by sending again; the same damage three times is the peer's.
constexpr int kMaxBadMessages = 3;
constexpr int kMaxSilentTicks = 3;

std::chrono::steady_clock::time_point TimePoint(int64_t us) {
  return std::chrono::steady_clock::time_point(std::chrono::microseconds(us));
}

}  // namespace

ReliableLink::ReliableLink(Config config)
    : config_(std::move(config)), outbox_(config_.shaper, config_.tls) {}

void ReliableLink::Start(LinkListener* listener) {
  MutexLock lock(&mutex_);
  ISTHMUS_CHECK(listener_ == nullptr && listener != nullptr);
  listener_ = listener;
  AtTime(0, [](ReliableLink* link) {
    link->Deliver();
  });  // not here: the caller may hold what the listener locks
}

absl::Status ReliableLink::Send(Frame frame) {
  const int64_t payload_bytes = static_cast<int64_t>(frame.payload.size());
  if (payload_bytes > config_.options.max_payload_bytes) {
    return InvalidArgument("link to ", config_.peer, ": expected a payload of at most ",
                           config_.options.max_payload_bytes, " bytes, got ", payload_bytes);
  }
  const int64_t bytes = Outbox::BytesOf(payload_bytes);
  Actions actions;
  {
    MutexLock lock(&mutex_);
    // A frame larger than the window passes alone.
    while (!over_ && !closing_ && !outbox_.empty() &&
           outbox_.bytes() + bytes > config_.options.window_bytes) {
      changed_.Wait(&mutex_);
    }
    if (over_ || closing_) {
      return Unavailable("link to ", config_.peer, ": expected it open, got ",
                         over_ && !end_.ok() ? end_.message() : absl::string_view("a closed link"));
    }
    outbox_.Add(std::move(frame), NowUs());
    stats_.peak_queued_bytes = std::max(stats_.peak_queued_bytes, outbox_.bytes());
    Pump(&actions);
  }
  Perform(std::move(actions));
  return absl::OkStatus();
}

absl::Status ReliableLink::Close(int64_t timeout_us) {
  const int64_t deadline_us = NowUs() + timeout_us;
  absl::Status result;
  Actions goodbye;
  {
    MutexLock lock(&mutex_);
    if (closing_ && !over_)
      return absl::FailedPreconditionError("link: expected one Close, got a second");
    closing_ = true;
    changed_.SignalAll();  // senders that wait for the window
    while (!over_ && !outbox_.empty() && NowUs() < deadline_us)
      changed_.WaitUntil(&mutex_, TimePoint(deadline_us));
    if (over_) return end_;
    if (!outbox_.empty()) {
      result = absl::DeadlineExceededError(
          absl::StrCat("link to ", config_.peer, ": expected all frames acknowledged in ",
                       timeout_us, " us, got ", outbox_.frames(), " left"));
    }
    const absl::Status told = result.ok()
                                  ? result
                                  : Unavailable("link: expected every frame, got a close with ",
                                                outbox_.frames(), " unsent");
    outbox_.SayGoodbye(SealGoodbye(told));
    Pump(&goodbye);
  }
  Perform(std::move(goodbye));
  Actions end;
  {
    MutexLock lock(&mutex_);
    // The peer cuts the connection once it has read the goodbye.
    const int64_t limit_us = std::max(deadline_us, NowUs() + kGraceUs);
    while (!over_ && NowUs() < limit_us && (connection_ != nullptr || !outbox_.goodbye_written())) {
      changed_.WaitUntil(&mutex_, TimePoint(limit_us));
    }
    End(absl::OkStatus(), &end);
  }
  Perform(std::move(end));
  return result;
}

LinkStats ReliableLink::stats() const {
  MutexLock lock(&mutex_);
  LinkStats stats = stats_;
  stats.queued_bytes = outbox_.bytes();
  return stats;
}

std::vector<ResentRow> ReliableLink::TakeResent() {
  MutexLock lock(&mutex_);
  return outbox_.TakeResent();
}

bool ReliableLink::over() const {
  MutexLock lock(&mutex_);
  return over_;
}

void ReliableLink::Stop() {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    ISTHMUS_CHECK(!delivering_ || deliverer_ != std::this_thread::get_id());
    End(absl::CancelledError("link: stopped"), &actions);
    listener_ = nullptr;
    inbound_.clear();
    actions.deliver = false;
  }
  Perform(std::move(actions));
  MutexLock lock(&mutex_);
  while (delivering_) changed_.Wait(&mutex_);
}

void ReliableLink::ExpectConnection() {
  MutexLock lock(&mutex_);
  ArmGiveUp();
}

uint64_t ReliableLink::Resume() {
  Actions actions;
  uint64_t received = 0;
  {
    MutexLock lock(&mutex_);
    if (connection_ != nullptr) {
      actions.cut = std::exchange(connection_, nullptr);
      ++outage_;
      ArmGiveUp();  // if the handshake leads to nothing
    }
    received = received_;
  }
  Perform(std::move(actions));
  return received;
}

void ReliableLink::Attach(std::shared_ptr<Connection> connection, uint64_t peer_received) {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    if (over_) {
      actions.cut = std::move(connection);
    } else {
      actions.cut = std::exchange(connection_, std::move(connection));
      writing_ = reading_ = heard_ = false;
      silent_ticks_ = 0;
      attached_us_ = NowUs();
      if (std::exchange(ever_attached_, true)) ++stats_.reconnects;
      const uint64_t outage = ++outage_;
      if (outbox_.Rewind(peer_received)) {
        changed_.SignalAll();
        Pump(&actions);
        MaybeRead(&actions);
        AtTime(NowUs() + config_.options.keepalive_us,
               [outage](ReliableLink* link) { link->TickKeepAlive(outage); });
      } else {
        End(InvalidArgument("link to ", config_.peer,
                            ": expected a received number that was sent, got ", peer_received),
            &actions);
      }
    }
  }
  Perform(std::move(actions));
}

void ReliableLink::OnMessage(const Connection* connection, absl::StatusOr<Frame> frame) {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    if (connection != connection_.get() || over_) return;
    reading_ = false;
    heard_ = true;
    silent_ticks_ = 0;
    if (frame.ok()) {
      fruitless_since_us_ = 0;
      Handle(*std::move(frame), &actions);
    } else {
      HandleBadMessage(frame.status(), &actions);
    }
    MaybeRead(&actions);
    Pump(&actions);
  }
  Perform(std::move(actions));
}

void ReliableLink::Handle(Frame frame, Actions* actions) {
  const int64_t payload_bytes = frame.header.payload_bytes;
  stats_.received_bytes += payload_bytes + WireHeaderBytes(payload_bytes, config_.tls);
  switch (frame.header.kind) {
    case FrameKind::kAck:
      return HandleAck(frame.header.step, actions);
    case FrameKind::kPing:
      outbox_.OweAck();
      return HandleAck(frame.header.step, actions);
    case FrameKind::kGoodbye:
      return End(Annotate(ParseGoodbye(frame), absl::StrCat("link to ", config_.peer)), actions);
    default:
      return HandleSequenced(std::move(frame), actions);
  }
}

void ReliableLink::HandleSequenced(Frame frame, Actions* actions) {
  const uint64_t sequence = frame.header.sequence;
  if (sequence != 0 && sequence <= received_)
    return;  // came before, on this connection or an older one
  if (sequence != received_ + 1) {
    return HandleBadMessage(
        InvalidArgument("frame: expected sequence number ", received_ + 1, ", got ", sequence),
        actions);
  }
  bad_messages_ = 0;
  received_ = sequence;
  ++stats_.received_frames;
  const int64_t payload_bytes = frame.header.payload_bytes;
  int64_t due_us = 0;
  if (config_.shaper != nullptr) {
    due_us = config_.shaper->Arrival(NowUs(),
                                     payload_bytes + WireHeaderBytes(payload_bytes, config_.tls));
  }
  inbound_bytes_ += Outbox::BytesOf(payload_bytes);
  inbound_.push_back({std::move(frame), due_us});
  actions->deliver = true;
}

void ReliableLink::HandleAck(uint64_t sequence, Actions* actions) {
  if (!outbox_.Acknowledge(sequence)) {
    return HandleBadMessage(
        InvalidArgument("frame: expected an ack of a frame that was sent, got ", sequence),
        actions);
  }
  changed_.SignalAll();
}

void ReliableLink::HandleBadMessage(const absl::Status& why, Actions* actions) {
  const absl::Status named = Annotate(why, absl::StrCat("link to ", config_.peer));
  if (why.code() != absl::StatusCode::kUnimplemented && ++bad_messages_ < kMaxBadMessages) {
    actions->cut = connection_;
    return Lose(named, actions);
  }
  std::shared_ptr<Connection> connection = connection_;
  const bool busy = writing_;
  connection_ = nullptr;
  End(named, actions);
  // The peer hears why, then cuts; if it does not, the timer does. A write in progress leaves no
  // room for last words.
  if (busy) {
    actions->cut = std::move(connection);
    return;
  }
  actions->connection = connection;
  actions->write = SealGoodbye(why);
  Timers::Process()->At(NowUs() + kGraceUs, [connection] { connection->Cut(); });
}

void ReliableLink::OnWritten(const Connection* connection) {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    if (connection != connection_.get()) return;
    writing_ = false;
    if (outbox_.goodbye_written()) changed_.SignalAll();
    Pump(&actions);
  }
  Perform(std::move(actions));
}

void ReliableLink::OnGone(const Connection* connection, const absl::Status& why) {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    if (connection != connection_.get()) return;
    Lose(why, &actions);
  }
  Perform(std::move(actions));
}

void ReliableLink::NoteFailure(const absl::Status& why) {
  MutexLock lock(&mutex_);
  last_failure_ = why;
}

void ReliableLink::Fail(absl::Status why) {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    End(std::move(why), &actions);
  }
  Perform(std::move(actions));
}

void ReliableLink::Lose(const absl::Status& why, Actions* actions) {
  connection_ = nullptr;
  ++outage_;
  last_failure_ = why;
  changed_.SignalAll();
  if (over_) return;
  if (outbox_.goodbye_written()) return End(absl::OkStatus(), actions);  // Close waits for this
  const int64_t now_us = NowUs();
  if (fruitless_since_us_ == 0 || now_us - attached_us_ > config_.options.keepalive_us)
    fruitless_since_us_ = now_us;
  if (now_us - fruitless_since_us_ > config_.options.reconnect_us) {
    return End(Unavailable("link to ", config_.peer, ": expected a connection that lasts, got ",
                           why.message()),
               actions);
  }
  ArmGiveUp();
  actions->lost = true;
}

void ReliableLink::End(absl::Status why, Actions* actions) {
  if (std::exchange(over_, true)) return;
  end_ = std::move(why);
  outbox_.Clear();
  if (connection_ != nullptr) actions->cut = std::move(connection_);
  connection_ = nullptr;
  changed_.SignalAll();
  actions->over = true;
  actions->deliver = true;  // what came before, then OnClosed
}

void ReliableLink::Pump(Actions* actions) {
  if (connection_ == nullptr || writing_) return;
  int64_t wake_us = 0;
  actions->write = outbox_.Next(NowUs(), delivered_, &stats_, &wake_us);
  if (actions->write != nullptr) {
    writing_ = true;
    actions->connection = connection_;
  } else if (wake_us != 0) {
    ArmWrite(wake_us);
  }
}

// Reading stops while as much as a window waits for the listener: the transport's flow control then
// holds the peer back.
void ReliableLink::MaybeRead(Actions* actions) {
  if (connection_ == nullptr || reading_ || inbound_bytes_ >= config_.options.window_bytes) return;
  reading_ = true;
  actions->connection = connection_;
  actions->read = true;
}

void ReliableLink::Perform(Actions actions) {
  if (actions.cut != nullptr) actions.cut->Cut();
  if (actions.write != nullptr) actions.connection->Write(std::move(actions.write));
  if (actions.read) actions.connection->ReadNext();
  if (actions.deliver) Deliver();
  if (actions.lost && config_.on_lost != nullptr) config_.on_lost();
  if (actions.over && config_.on_over != nullptr) config_.on_over();
}

void ReliableLink::Deliver() {
  {
    MutexLock lock(&mutex_);
    if (delivering_ || listener_ == nullptr) return;
    delivering_ = true;
    deliverer_ = std::this_thread::get_id();
  }
  while (true) {
    Held held;
    absl::Status closed;
    LinkListener* listener = nullptr;
    bool is_frame = false;
    {
      MutexLock lock(&mutex_);
      if (!NextDelivery(&held, &is_frame)) {
        delivering_ = false;
        changed_.SignalAll();
        return;
      }
      listener = listener_;
      closed = end_;
    }
    if (!is_frame) {
      listener->OnClosed(std::move(closed));
      continue;
    }
    const int64_t payload_bytes = held.frame.header.payload_bytes;
    listener->OnFrame(std::move(held.frame));
    Actions actions;
    {
      MutexLock lock(&mutex_);
      CountDelivery(payload_bytes, &actions);
    }
    Perform(std::move(actions));
  }
}

bool ReliableLink::NextDelivery(Held* held, bool* is_frame) {
  if (listener_ == nullptr || end_told_) return false;
  if (!inbound_.empty()) {
    if (inbound_.front().due_us > NowUs()) {
      ArmDelivery(inbound_.front().due_us);
      return false;
    }
    *held = std::move(inbound_.front());
    inbound_.pop_front();
    *is_frame = true;
    return true;
  }
  *is_frame = false;
  return over_ && !std::exchange(end_told_, true);
}

void ReliableLink::CountDelivery(int64_t payload_bytes, Actions* actions) {
  const int64_t bytes = Outbox::BytesOf(payload_bytes);
  inbound_bytes_ -= bytes;
  ++delivered_;
  unacknowledged_bytes_ += bytes;
  if (unacknowledged_bytes_ >= std::min(kAckBytes, config_.options.window_bytes / 4)) {
    unacknowledged_bytes_ = 0;
    outbox_.OweAck();
    Pump(actions);
  } else if (!std::exchange(ack_armed_, true)) {
    AtTime(NowUs() + kAckDelayUs, [](ReliableLink* link) { link->TickAck(); });
  }
  MaybeRead(actions);
}

void ReliableLink::TickAck() {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    ack_armed_ = false;
    if (std::exchange(unacknowledged_bytes_, 0) == 0) return;
    outbox_.OweAck();
    Pump(&actions);
  }
  Perform(std::move(actions));
}

void ReliableLink::AtTime(int64_t due_us, std::function<void(ReliableLink*)> tick) {
  Timers::Process()->At(due_us, [weak = weak_from_this(), tick = std::move(tick)] {
    if (const auto link = weak.lock(); link != nullptr) tick(link.get());
  });
}

void ReliableLink::ArmWrite(int64_t due_us) {
  if (write_armed_us_ != 0 && write_armed_us_ <= due_us) return;
  write_armed_us_ = due_us;
  AtTime(due_us, [](ReliableLink* link) {
    Actions actions;
    {
      MutexLock lock(&link->mutex_);
      link->write_armed_us_ = 0;
      link->Pump(&actions);
    }
    link->Perform(std::move(actions));
  });
}

void ReliableLink::ArmDelivery(int64_t due_us) {
  if (delivery_armed_us_ != 0 && delivery_armed_us_ <= due_us) return;
  delivery_armed_us_ = due_us;
  AtTime(due_us, [](ReliableLink* link) {
    {
      MutexLock lock(&link->mutex_);
      link->delivery_armed_us_ = 0;
    }
    link->Deliver();
  });
}

void ReliableLink::ArmGiveUp() {
  AtTime(NowUs() + config_.options.reconnect_us,
         [outage = outage_](ReliableLink* link) { link->GiveUp(outage); });
}

void ReliableLink::GiveUp(uint64_t outage) {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    if (outage != outage_) return;
    End(Unavailable("link to ", config_.peer, ": expected a connection within ",
                    config_.options.reconnect_us / 1000, " ms, got ",
                    last_failure_.ok() ? absl::string_view("none") : last_failure_.message()),
        &actions);
  }
  Perform(std::move(actions));
}

void ReliableLink::TickKeepAlive(uint64_t outage) {
  Actions actions;
  {
    MutexLock lock(&mutex_);
    if (outage != outage_ || over_ || config_.transport_pings) return;
    if (!std::exchange(heard_, false) && ++silent_ticks_ > kMaxSilentTicks) {
      actions.cut = connection_;
      Lose(Unavailable("link to ", config_.peer, ": expected an answer to ", kMaxSilentTicks,
                       " pings, got none"),
           &actions);
    } else {
      if (silent_ticks_ > 0) outbox_.OwePing();
      Pump(&actions);
      AtTime(NowUs() + config_.options.keepalive_us,
             [outage](ReliableLink* link) { link->TickKeepAlive(outage); });
    }
  }
  Perform(std::move(actions));
}

}  // namespace isthmus
