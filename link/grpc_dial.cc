// The dialling side: one channel per link, one stream at a time, dialled again with backoff while
// the link lasts.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "link/grpc_environment.h"
#include "link/grpc_link.h"
#include "link/grpc_options.h"
#include "link/grpc_stream.h"
#include "link/handshake.h"
#include "link/timers.h"

namespace isthmus {
namespace {

constexpr int64_t kFirstBackoffUs = 20'000;
constexpr int64_t kMaxBackoffUs = 1'000'000;

class Dialer;

// Counts the streams of a dialer, so that its end can wait for them. Outlives both.
class StreamCount {
 public:
  void Enter() {
    MutexLock lock(&mutex_);
    ++count_;
  }
  void Leave() {
    MutexLock lock(&mutex_);
    --count_;
    changed_.SignalAll();
  }
  void WaitForNone() {
    MutexLock lock(&mutex_);
    while (count_ > 0) changed_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int count_ ISTHMUS_GUARDED_BY(mutex_) = 0;
};

class DialStream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                         public GrpcStream {
 public:
  DialStream(std::shared_ptr<Dialer> dialer, std::shared_ptr<StreamCount> streams,
             int64_t max_payload_bytes)
      : GrpcStream(max_payload_bytes),
        dialer_(std::move(dialer)),
        streams_(std::move(streams)),
        context_(std::make_unique<grpc::ClientContext>()) {
    streams_->Enter();
  }

  void Begin(grpc::GenericStub* stub, SealedFramePtr hello);

  void OnReadDone(bool ok) override { ReadDone(ok); }
  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnDone(const grpc::Status& status) override;

 protected:
  void WireWrite(const grpc::ByteBuffer* message) override { StartWrite(message); }
  void WireRead(grpc::ByteBuffer* message) override { StartRead(message); }
  void WireCancel() override { context_->TryCancel(); }
  void WireFinish() override { RemoveHold(); }
  void OnFirstMessage(absl::StatusOr<Frame> frame) override;
  void OnFirstWritten() override { MaybeAttach(true, std::nullopt); }

 private:
  void MaybeAttach(bool hello_written, std::optional<uint64_t> peer_received);

  std::shared_ptr<Dialer> dialer_;  // until OnDone
  const std::shared_ptr<StreamCount> streams_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::shared_ptr<GrpcStream> self_;  // until OnDone

  Mutex mutex_;
  bool hello_written_ ISTHMUS_GUARDED_BY(mutex_) = false;
  std::optional<uint64_t> peer_received_ ISTHMUS_GUARDED_BY(mutex_);
  absl::Status refusal_ ISTHMUS_GUARDED_BY(mutex_);
};

class Dialer : public std::enable_shared_from_this<Dialer> {
 public:
  static absl::StatusOr<std::shared_ptr<Dialer>> Make(const std::string& address,
                                                      const LinkIdentity& identity,
                                                      const GrpcOptions& options);

  // Waits for the first welcome.
  absl::Status Connect();
  // No stream is left when it returns, so the channel dies on the caller's thread and not in a
  // callback, where it would deadlock.
  void Stop();
  std::shared_ptr<ReliableLink> link() const { return link_; }

  // From the streams.
  void Welcomed();
  void AttemptEnded(const absl::Status& refusal, const absl::Status& why);

 private:
  Dialer(const std::string& address, const LinkIdentity& identity, const GrpcOptions& options)
      : address_(address), identity_(identity), options_(options), incarnation_(Draw()) {}
  static uint64_t Draw() {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }
  void Attempt();
  void AttemptLater();
  SealedFramePtr Hello(bool resumed) const;

  const std::string address_;
  const LinkIdentity identity_;
  const GrpcOptions options_;
  const uint64_t incarnation_;
  const std::shared_ptr<StreamCount> streams_ = std::make_shared<StreamCount>();
  std::shared_ptr<ReliableLink> link_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;

  Mutex mutex_;
  CondVar changed_;
  std::shared_ptr<DialStream> stream_ ISTHMUS_GUARDED_BY(mutex_);  // of the latest attempt
  bool stopped_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool welcomed_ ISTHMUS_GUARDED_BY(mutex_) = false;
  absl::Status refusal_ ISTHMUS_GUARDED_BY(mutex_);
  absl::Status last_failure_ ISTHMUS_GUARDED_BY(mutex_);
  int64_t backoff_us_ ISTHMUS_GUARDED_BY(mutex_) = kFirstBackoffUs;
};

void DialStream::Begin(grpc::GenericStub* stub, SealedFramePtr hello) {
  self_ = shared_from_this();
  stub->PrepareBidiStreamingCall(context_.get(), kOpenMethod, {}, this);
  AddHold();  // reads and writes come from outside the reactions too
  Write(std::move(hello));
  ReadNext();
  StartCall();
  Begun();
  Timers::Process()->At(NowUs() + kHandshakeUs, [weak = weak_from_this()] {
    if (const auto stream = weak.lock(); stream != nullptr) stream->CutUnlessAttached();
  });
}

void DialStream::OnFirstMessage(absl::StatusOr<Frame> frame) {
  absl::StatusOr<uint64_t> received =
      frame.ok() ? ParseWelcome(*frame) : absl::StatusOr<uint64_t>(frame.status());
  if (received.ok()) return MaybeAttach(false, *received);
  {
    MutexLock lock(&mutex_);
    refusal_ = received.status();
  }
  Cut();
}

// gRPC may tell of the welcome before it tells that the hello is out.
void DialStream::MaybeAttach(bool hello_written, std::optional<uint64_t> peer_received) {
  uint64_t received = 0;
  {
    MutexLock lock(&mutex_);
    hello_written_ |= hello_written;
    if (peer_received.has_value()) peer_received_ = peer_received;
    if (!hello_written_ || !peer_received_.has_value()) return;
    received = *peer_received_;
  }
  dialer_->Welcomed();
  AttachTo(dialer_->link(), received);
}

void DialStream::OnDone(const grpc::Status& status) {
  const std::shared_ptr<GrpcStream> self = std::move(self_);
  context_.reset();  // it holds the channel
  absl::Status refusal;
  {
    MutexLock lock(&mutex_);
    refusal = refusal_;
  }
  const absl::Status why =
      Unavailable(status.ok() ? "the peer ended the stream" : status.error_message());
  // No retry helps against a server without this service, or a peer whose limit is below our
  // frames.
  if (refusal.ok() && status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    refusal = Unimplemented("expected a data link service, got a server without one");
  } else if (refusal.ok() && status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    refusal = ResourceExhausted("expected a frame within the peer's limit, got: ",
                                status.error_message());
  }
  if (refusal.ok() && link() != nullptr) {
    link()->OnGone(this, why);
  } else {
    dialer_->AttemptEnded(refusal, why);
  }
  // Stop waits for the count and holds the dialer: with it the channel must not go in this
  // callback.
  dialer_.reset();
  streams_->Leave();
}

absl::StatusOr<std::shared_ptr<Dialer>> Dialer::Make(const std::string& address,
                                                     const LinkIdentity& identity,
                                                     const GrpcOptions& options) {
  PrepareGrpc();
  ISTHMUS_ASSIGN_OR_RETURN(auto credentials, ChannelCredentials(options.tls));
  std::shared_ptr<Dialer> dialer(new Dialer(address, identity, options));
  dialer->channel_ =
      grpc::CreateCustomChannel(address, credentials, LinkChannelArguments(address, options));
  dialer->stub_ = std::make_unique<grpc::GenericStub>(dialer->channel_);
  ReliableLink::Config config;
  config.options = options.link;
  config.shaper = options.shaper;
  config.peer = absl::StrCat("party ", identity.to_party, " at ", address);
  config.tls = options.tls.enabled();
  config.transport_pings = true;
  config.on_lost = [weak = dialer->weak_from_this()] {
    if (const auto self = weak.lock(); self != nullptr) self->AttemptLater();
  };
  dialer->link_ = std::make_shared<ReliableLink>(std::move(config));
  return dialer;
}

SealedFramePtr Dialer::Hello(bool resumed) const {
  v1::LinkHello hello;
  hello.set_wire_version(kWireVersion);
  hello.set_job_id(identity_.job_id);
  hello.set_token(identity_.token);
  hello.set_generation(identity_.generation);
  hello.set_from_party(identity_.from_party);
  hello.set_to_party(identity_.to_party);
  hello.set_incarnation(incarnation_);
  hello.set_received(link_->Resume());
  hello.set_resumed(resumed);
  return SealHello(hello);
}

void Dialer::Attempt() {
  if (link_->over()) return;
  std::shared_ptr<DialStream> stream;
  bool resumed = false;
  {
    MutexLock lock(&mutex_);
    if (stopped_) return;
    stream = stream_ =
        std::make_shared<DialStream>(shared_from_this(), streams_, options_.link.max_payload_bytes);
    resumed = welcomed_;
  }
  stream->Begin(stub_.get(), Hello(resumed));
}

void Dialer::AttemptLater() {
  int64_t wait_us = 0;
  {
    MutexLock lock(&mutex_);
    if (stopped_) return;
    wait_us = backoff_us_;
    backoff_us_ = std::min(2 * backoff_us_, kMaxBackoffUs);
  }
  Timers::Process()->At(NowUs() + wait_us, [weak = weak_from_this()] {
    if (const auto self = weak.lock(); self != nullptr) self->Attempt();
  });
}

absl::Status Dialer::Connect() {
  Attempt();
  const int64_t deadline_us = NowUs() + options_.link.reconnect_us;
  const std::chrono::steady_clock::time_point deadline{std::chrono::microseconds(deadline_us)};
  MutexLock lock(&mutex_);
  while (!welcomed_ && refusal_.ok() && NowUs() < deadline_us)
    changed_.WaitUntil(&mutex_, deadline);
  if (!refusal_.ok()) return Annotate(refusal_, absl::StrCat("link to ", link_->peer()));
  if (welcomed_) return absl::OkStatus();
  return Unavailable("link to ", link_->peer(), ": expected a welcome within ",
                     options_.link.reconnect_us / 1000, " ms, got ",
                     last_failure_.ok() ? absl::string_view("no answer") : last_failure_.message());
}

void Dialer::Welcomed() {
  MutexLock lock(&mutex_);
  welcomed_ = true;
  backoff_us_ = kFirstBackoffUs;
  changed_.SignalAll();
}

void Dialer::AttemptEnded(const absl::Status& refusal, const absl::Status& why) {
  {
    MutexLock lock(&mutex_);
    refusal_ = refusal;
    last_failure_ = why;
    changed_.SignalAll();
  }
  if (!refusal.ok()) return link_->Fail(Annotate(refusal, absl::StrCat("link to ", link_->peer())));
  link_->NoteFailure(why);
  AttemptLater();
}

void Dialer::Stop() {
  std::shared_ptr<DialStream> stream;
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    stream = std::move(stream_);
  }
  if (stream != nullptr) stream->Cut();
  stream.reset();
  streams_->WaitForNone();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> DialLink(const std::string& address,
                                               const LinkIdentity& identity,
                                               const GrpcOptions& options) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<Dialer> dialer,
                           Dialer::Make(address, identity, options));
  if (absl::Status status = dialer->Connect(); !status.ok()) {
    dialer->link()->Stop();
    dialer->Stop();
    return status;
  }
  std::shared_ptr<void> carrier(dialer.get(), [dialer](void*) { dialer->Stop(); });
  return std::make_unique<CarriedLink>(dialer->link(), std::move(carrier));
}

}  // namespace isthmus
