#include "link/loopback.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread.h"
#include "link/reliable_link.h"

namespace isthmus {
namespace {

constexpr int64_t kRedialUs = 1'000;

class Cable;

class LoopbackConnection final : public Connection {
 public:
  LoopbackConnection(std::shared_ptr<Cable> cable, int side, uint64_t number)
      : cable_(std::move(cable)), side_(side), number_(number) {}
  void Write(SealedFramePtr frame) override;
  void ReadNext() override;
  void Cut() override;

 private:
  const std::shared_ptr<Cable> cable_;
  const int side_;
  const uint64_t number_;  // of the connection
};

// The state behind the connections. One thread (Run) moves every message, so the order of events is
// the order of its loop.
class Cable final : public LoopbackCable, public std::enable_shared_from_this<Cable> {
 public:
  explicit Cable(std::vector<Fault> faults) : faults_(std::move(faults)) {}

  void Join(const std::shared_ptr<ReliableLink>& first,
            const std::shared_ptr<ReliableLink>& second) {
    links_ = {first, second};
  }
  void Connect();
  void Run();
  void Stop();

  void Cut() override;
  void Silence() override;
  void LoseForGood() override;

  // From the connections; calls of an older one are ignored.
  void Write(int side, uint64_t number, SealedFramePtr frame);
  void ReadNext(int side, uint64_t number);
  void Cut(uint64_t number);

 private:
  struct Message {
    Bytes bytes;
    int64_t due_us = 0;
    bool cut_after = false;
    bool attempt_after = false;
  };
  struct End {
    std::shared_ptr<LoopbackConnection> connection;
    std::deque<Message> sent;  // by this end
    bool writing = false;      // this end waits for OnWritten
    bool reading = false;      // this end asked for a message
    int64_t frames = 0;        // sent so far
  };
  // The next thing the thread does, outside the lock.
  struct Event {
    enum Kind { kNone, kGone, kMessage, kWritten, kConnect, kStop } kind = kNone;
    int side = 0;
    std::shared_ptr<LoopbackConnection> connection;
    Bytes bytes;
  };

  void Break() ISTHMUS_REQUIRES(mutex_);
  void Inject(int side, int64_t frame, Message message) ISTHMUS_REQUIRES(mutex_);
  Event NextEvent(int64_t now_us, int64_t* wake_us) ISTHMUS_REQUIRES(mutex_);
  bool TakeMessage(int side, int64_t now_us, Event* event, int64_t* wake_us)
      ISTHMUS_REQUIRES(mutex_);
  void Perform(const Event& event);

  const std::vector<Fault> faults_;
  std::array<std::weak_ptr<ReliableLink>, 2> links_;  // set once, before the thread runs

  Mutex mutex_;
  CondVar changed_;
  std::array<End, 2> ends_ ISTHMUS_GUARDED_BY(mutex_);
  std::deque<std::pair<int, std::shared_ptr<LoopbackConnection>>> gone_ ISTHMUS_GUARDED_BY(mutex_);
  uint64_t number_ ISTHMUS_GUARDED_BY(mutex_) = 0;  // of the connection; 0 before the first
  bool connected_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool silent_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool lost_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool stopping_ ISTHMUS_GUARDED_BY(mutex_) = false;
  int64_t redial_us_ ISTHMUS_GUARDED_BY(mutex_) = 0;
};

void LoopbackConnection::Write(SealedFramePtr frame) {
  cable_->Write(side_, number_, std::move(frame));
}
void LoopbackConnection::ReadNext() { cable_->ReadNext(side_, number_); }
void LoopbackConnection::Cut() { cable_->Cut(number_); }

void Cable::Cut() {
  MutexLock lock(&mutex_);
  Break();
}

void Cable::Silence() {
  MutexLock lock(&mutex_);
  silent_ = true;
}

void Cable::LoseForGood() {
  MutexLock lock(&mutex_);
  lost_ = true;
  Break();
}

void Cable::Stop() {
  MutexLock lock(&mutex_);
  stopping_ = true;
  for (End& end : ends_) end.connection.reset();  // they hold this
  gone_.clear();
  changed_.SignalAll();
}

void Cable::Break() {
  if (!connected_) return;
  changed_.SignalAll();
  connected_ = silent_ = false;
  redial_us_ = NowUs() + kRedialUs;
  for (int side : {0, 1}) {
    End& end = ends_[side];
    gone_.emplace_back(side, std::move(end.connection));
    end.connection = nullptr;
    end.sent.clear();
    end.writing = end.reading = false;
  }
}

void Cable::Cut(uint64_t number) {
  MutexLock lock(&mutex_);
  if (number == number_) Break();
}

void Cable::ReadNext(int side, uint64_t number) {
  MutexLock lock(&mutex_);
  if (number != number_ || !connected_) return;
  ends_[side].reading = true;
  changed_.SignalAll();
}

void Cable::Write(int side, uint64_t number, SealedFramePtr frame) {
  Message message;
  message.bytes.reserve(FrameHeader::kBytes + frame->payload().size());
  message.bytes.insert(message.bytes.end(), frame->head(), frame->head() + FrameHeader::kBytes);
  message.bytes.insert(message.bytes.end(), frame->payload().begin(), frame->payload().end());
  MutexLock lock(&mutex_);
  if (number != number_ || !connected_) return;
  ends_[side].writing = true;
  const bool counted = frame->header().sequence != 0;
  if (counted) ++ends_[side].frames;
  Inject(side, counted ? ends_[side].frames : 0, std::move(message));
  changed_.SignalAll();
}

void Cable::Inject(int side, int64_t frame, Message message) {
  std::deque<Message>& sent = ends_[side].sent;
  bool twice = false;
  for (const Fault& fault : faults_) {
    if (fault.side != side || fault.frame != frame) continue;
    switch (fault.kind) {
      case Fault::Kind::kCutBefore:
        return Break();
      case Fault::Kind::kCutAfter:
        message.cut_after = true;
        break;
      case Fault::Kind::kTruncate:
        message.bytes.resize(message.bytes.size() / 2);
        message.cut_after = true;
        break;
      case Fault::Kind::kCorrupt: {
        const auto bit = static_cast<size_t>(fault.value) % (message.bytes.size() * 8);
        message.bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
        break;
      }
      case Fault::Kind::kDelay:
        message.due_us = NowUs() + fault.value;
        break;
      case Fault::Kind::kDuplicate:
        twice = true;
        break;
      case Fault::Kind::kSecondAttempt:
        message.attempt_after = true;
        break;
      case Fault::Kind::kSilence:
        silent_ = true;
        break;
      case Fault::Kind::kLoseForGood:
        lost_ = true;
        return Break();
    }
  }
  if (twice) sent.push_back(message);
  sent.push_back(std::move(message));
}

// A message moves when it is due and the other end has asked for one: nothing piles up in the
// cable.
bool Cable::TakeMessage(int side, int64_t now_us, Event* event, int64_t* wake_us) {
  End& from = ends_[side];
  End& to = ends_[1 - side];
  if (from.sent.empty() || silent_ || !to.reading) return false;
  if (from.sent.front().due_us > now_us) {
    *wake_us = std::min(*wake_us, from.sent.front().due_us);
    return false;
  }
  const Message message = std::move(from.sent.front());
  from.sent.pop_front();
  to.reading = false;
  *event = {Event::kMessage, 1 - side, to.connection, message.bytes};
  if (message.cut_after) Break();
  if (message.attempt_after) {  // the old connection stays up at both ends until the new one
                                // replaces it
    connected_ = false;
    redial_us_ = 0;
  }
  return true;
}

Cable::Event Cable::NextEvent(int64_t now_us, int64_t* wake_us) {
  Event event;
  if (stopping_) return {Event::kStop, 0, nullptr, {}};
  if (!gone_.empty()) {
    event = {Event::kGone, gone_.front().first, std::move(gone_.front().second), {}};
    gone_.pop_front();
    return event;
  }
  if (!connected_ && number_ > 0 && !lost_) {
    if (redial_us_ <= now_us) return {Event::kConnect, 0, nullptr, {}};
    *wake_us = std::min(*wake_us, redial_us_);
  }
  if (!connected_) return event;
  for (int side : {0, 1}) {
    if (TakeMessage(side, now_us, &event, wake_us)) return event;
    if (ends_[side].writing && ends_[side].sent.empty()) {
      ends_[side].writing = false;
      return {Event::kWritten, side, ends_[side].connection, {}};
    }
  }
  return event;
}

void Cable::Connect() {
  const auto first = links_[0].lock();
  const auto second = links_[1].lock();
  const bool both = first != nullptr && second != nullptr && !first->over() && !second->over();
  if (!both) {
    {
      MutexLock lock(&mutex_);
      lost_ = true;
    }
    // As a server answers a dialler whose link it does not know.
    const absl::Status gone = Unavailable("expected a link to resume, got none");
    if (first != nullptr) first->Fail(gone);
    if (second != nullptr) second->Fail(gone);
    return;
  }
  const uint64_t received[2] = {first->Resume(), second->Resume()};
  std::shared_ptr<LoopbackConnection> connections[2];
  {
    MutexLock lock(&mutex_);
    ++number_;
    connected_ = true;
    silent_ = false;
    for (int side : {0, 1}) {
      const int64_t frames = ends_[side].frames;
      connections[side] = std::make_shared<LoopbackConnection>(shared_from_this(), side, number_);
      ends_[side] = End{connections[side], {}, false, false, frames};
    }
    changed_.SignalAll();
  }
  first->Attach(connections[0], received[1]);
  second->Attach(connections[1], received[0]);
}

void Cable::Perform(const Event& event) {
  if (event.kind == Event::kConnect) return Connect();
  const auto link = links_[event.side].lock();
  if (link == nullptr) return;
  if (event.kind == Event::kGone)
    link->OnGone(event.connection.get(), Unavailable("the cable was cut"));
  if (event.kind == Event::kWritten) link->OnWritten(event.connection.get());
  if (event.kind == Event::kMessage) {
    const absl::Span<const uint8_t> piece = event.bytes;
    link->OnMessage(event.connection.get(), ParseFrame({&piece, 1}, link->max_payload_bytes()));
  }
}

void Cable::Run() {
  while (true) {
    Event event;
    {
      MutexLock lock(&mutex_);
      while (true) {
        int64_t wake_us = NowUs() + 1'000'000;
        event = NextEvent(NowUs(), &wake_us);
        if (event.kind != Event::kNone) break;
        changed_.WaitUntil(
            &mutex_, std::chrono::steady_clock::time_point(std::chrono::microseconds(wake_us)));
      }
    }
    if (event.kind == Event::kStop) return;
    Perform(event);
  }
}

// What both links hold: the cable and its thread, ended with the second of them.
class Carrier {
 public:
  explicit Carrier(std::shared_ptr<Cable> cable)
      : cable_(std::move(cable)), thread_("loopback", [this] { cable_->Run(); }) {}
  ~Carrier() {
    cable_->Stop();
    thread_.Join();
  }

 private:
  const std::shared_ptr<Cable> cable_;
  Thread thread_;
};

std::shared_ptr<ReliableLink> MakeEnd(const LoopbackOptions& options, const char* peer) {
  ReliableLink::Config config;
  config.options = options.link;
  config.shaper = options.shaper;
  config.peer = peer;
  return std::make_shared<ReliableLink>(std::move(config));
}

}  // namespace

LoopbackPair MakeLoopback(const LoopbackOptions& first, const LoopbackOptions& second,
                          std::vector<Fault> faults) {
  const auto cable = std::make_shared<Cable>(std::move(faults));
  const auto a = MakeEnd(first, "party 1 in this process");
  const auto b = MakeEnd(second, "party 0 in this process");
  cable->Join(a, b);
  cable->Connect();
  const auto carrier = std::make_shared<Carrier>(cable);
  LoopbackPair pair;
  pair.first = std::make_unique<CarriedLink>(a, carrier);
  pair.second = std::make_unique<CarriedLink>(b, carrier);
  pair.cable = cable;
  return pair;
}

}  // namespace isthmus
