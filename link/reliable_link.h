// ReliableLink: what every carrier shares. Sequence numbers, kept bytes, acknowledgements, the
// window, resending after a reconnect, delivery to the listener one call at a time, keep-alive, and
// the end.
//
// A carrier brings connections, one after another: Resume() to learn what to tell the peer,
// Attach() once the peer has told what it received. The link calls the connection to write and to
// read; the connection calls OnMessage, OnWritten, OnGone.
//
// Frames are encoded (checksum, header, bytes) once and sent as often as needed: a connection gets
// a shared SealedFrame.
//
// Threads: every method from any thread. The mutex is never held while a connection or the listener
// is called. Frames are handed to the listener on the thread that brought them, or on the timer
// thread when the ingress shaper holds them back.
#ifndef ISTHMUS_LINK_RELIABLE_LINK_H_
#define ISTHMUS_LINK_RELIABLE_LINK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "link/frame.h"
#include "link/link.h"
#include "link/outbox.h"
#include "link/shaper.h"

namespace isthmus {

// One connection of a link. Calls come from any thread; at most one Write and one ReadNext are
// outstanding. They do nothing once the connection is cut.
class Connection {
 public:
  virtual ~Connection() = default;
  // Starts to write one message; answered by ReliableLink::OnWritten, or by OnGone if it breaks.
  virtual void Write(SealedFramePtr frame) = 0;
  // Asks for the next message; answered by OnMessage or OnGone.
  virtual void ReadNext() = 0;
  // Breaks the connection; OnGone comes after it.
  virtual void Cut() = 0;
};

class ReliableLink : public std::enable_shared_from_this<ReliableLink> {
 public:
  struct Config {
    LinkOptions options;
    std::shared_ptr<Shaper> shaper;  // null: unshaped
    std::string peer;                // for messages
    bool tls = false;                // for byte counts
    bool transport_pings = false;    // the carrier itself notices a silent peer
    std::function<void()>
        on_lost;  // the connection is gone and the link is not over: dial again (dialling side)
    std::function<void()> on_over;  // the link is over: give up dialling, forget it
  };
  explicit ReliableLink(Config config);

  // What Link promises.
  void Start(LinkListener* listener);
  absl::Status Send(Frame frame);
  absl::Status Close(int64_t timeout_us);
  LinkStats stats() const;
  std::vector<ResentRow> TakeResent();
  const std::string& peer() const { return config_.peer; }
  bool tls() const { return config_.tls; }
  int64_t max_payload_bytes() const { return config_.options.max_payload_bytes; }
  // Over at once, and no listener call is running or comes after it returns. Not from a listener
  // call.
  void Stop();

  // The carrier's side.
  // Gives up after reconnect_us unless a connection comes: a link that was accepted and not
  // attached yet.
  void ExpectConnection();
  // Drops the present connection, if any, and returns the highest sequence number received: nothing
  // of an older connection is taken any more.
  uint64_t Resume();
  // `peer_received` as the peer said. Resends what is beyond it.
  void Attach(std::shared_ptr<Connection> connection, uint64_t peer_received);
  void OnMessage(const Connection* connection, absl::StatusOr<Frame> frame);
  void OnWritten(const Connection* connection);
  void OnGone(const Connection* connection, const absl::Status& why);
  // An attempt to connect failed; the words go into the message if the link gives up.
  void NoteFailure(const absl::Status& why);
  // The end, for a reason found by the carrier (a refusal, a server that shuts down).
  void Fail(absl::Status why);
  bool over() const;

 private:
  struct Held {  // received, not yet delivered
    Frame frame;
    int64_t due_us;
  };
  // What to do once the mutex is released.
  struct Actions {
    std::shared_ptr<Connection> connection;
    SealedFramePtr write;  // on connection
    bool read = false;     // from connection
    std::shared_ptr<Connection> cut;
    bool deliver = false;
    bool lost = false;
    bool over = false;
  };
  void Perform(Actions actions);

  void Pump(Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void MaybeRead(Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void Handle(Frame frame, Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void HandleSequenced(Frame frame, Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void HandleAck(uint64_t sequence, Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void HandleBadMessage(const absl::Status& why, Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void Lose(const absl::Status& why, Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void End(absl::Status why, Actions* actions) ISTHMUS_REQUIRES(mutex_);
  void Deliver();
  bool NextDelivery(Held* held, bool* is_frame) ISTHMUS_REQUIRES(mutex_);
  void CountDelivery(int64_t payload_bytes, Actions* actions) ISTHMUS_REQUIRES(mutex_);

  // A timer that finds the link gone does nothing.
  void AtTime(int64_t due_us, std::function<void(ReliableLink*)> tick);
  void ArmWrite(int64_t due_us) ISTHMUS_REQUIRES(mutex_);
  void ArmDelivery(int64_t due_us) ISTHMUS_REQUIRES(mutex_);
  void ArmGiveUp() ISTHMUS_REQUIRES(mutex_);
  void GiveUp(uint64_t outage);
  void TickAck();
  void TickKeepAlive(uint64_t outage);

  const Config config_;

  mutable Mutex mutex_;
  CondVar changed_;  // room in the window, flushed, over, no listener call running
  LinkStats stats_ ISTHMUS_GUARDED_BY(mutex_);
  Outbox outbox_ ISTHMUS_GUARDED_BY(mutex_);
  int64_t write_armed_us_ ISTHMUS_GUARDED_BY(mutex_) = 0;  // 0: no timer
  bool closing_ ISTHMUS_GUARDED_BY(mutex_) = false;

  // The connection.
  std::shared_ptr<Connection> connection_ ISTHMUS_GUARDED_BY(mutex_);
  bool writing_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool reading_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool ever_attached_ ISTHMUS_GUARDED_BY(mutex_) = false;
  uint64_t outage_ ISTHMUS_GUARDED_BY(mutex_) = 0;  // counts connections that came or went
  int64_t attached_us_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  int64_t fruitless_since_us_ ISTHMUS_GUARDED_BY(mutex_) =
      0;  // connections that break at once count as none; 0: all is well
  absl::Status last_failure_ ISTHMUS_GUARDED_BY(mutex_);
  int bad_messages_ ISTHMUS_GUARDED_BY(mutex_) = 0;  // in a row
  bool heard_ ISTHMUS_GUARDED_BY(mutex_) = false;    // since the last keep-alive tick
  int silent_ticks_ ISTHMUS_GUARDED_BY(mutex_) = 0;

  // Receiving. received_ >= delivered_; acks say delivered_.
  uint64_t received_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  uint64_t delivered_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  int64_t unacknowledged_bytes_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  bool ack_armed_ ISTHMUS_GUARDED_BY(mutex_) = false;
  std::deque<Held> inbound_ ISTHMUS_GUARDED_BY(mutex_);
  int64_t inbound_bytes_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  LinkListener* listener_ ISTHMUS_GUARDED_BY(mutex_) = nullptr;
  bool delivering_ ISTHMUS_GUARDED_BY(mutex_) = false;
  std::thread::id deliverer_ ISTHMUS_GUARDED_BY(mutex_);
  int64_t delivery_armed_us_ ISTHMUS_GUARDED_BY(mutex_) = 0;  // 0: no timer

  bool over_ ISTHMUS_GUARDED_BY(mutex_) = false;
  absl::Status end_ ISTHMUS_GUARDED_BY(mutex_);
  bool end_told_ ISTHMUS_GUARDED_BY(mutex_) = false;
};

// The Link a user holds: the reliable part and what carries it, ended in this order.
class CarriedLink : public Link {
 public:
  // `carrier` is destroyed on the owner's thread after the link is stopped.
  CarriedLink(std::shared_ptr<ReliableLink> link, std::shared_ptr<void> carrier)
      : carrier_(std::move(carrier)), link_(std::move(link)) {}
  ~CarriedLink() override { link_->Stop(); }
  void Start(LinkListener* listener) override { link_->Start(listener); }
  absl::Status Send(Frame frame) override { return link_->Send(std::move(frame)); }
  absl::Status Close(int64_t timeout_us) override { return link_->Close(timeout_us); }
  LinkStats stats() const override { return link_->stats(); }
  std::vector<ResentRow> TakeResent() override { return link_->TakeResent(); }
  std::string peer() const override { return link_->peer(); }
  bool tls() const override { return link_->tls(); }

 private:
  std::shared_ptr<void> carrier_;
  std::shared_ptr<ReliableLink> link_;  // dropped before its carrier
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_RELIABLE_LINK_H_
