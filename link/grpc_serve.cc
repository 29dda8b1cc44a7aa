// The accepting side: one service on one port, a registry of the links by (job, from, to).
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <map>
#include <tuple>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "isthmus/v1/link.grpc.pb.h"
#include "link/grpc_environment.h"
#include "link/grpc_link.h"
#include "link/grpc_options.h"
#include "link/grpc_stream.h"
#include "link/handshake.h"
#include "link/timers.h"

namespace isthmus {
namespace {

class Acceptor;

class ServeStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                          public GrpcStream {
 public:
  ServeStream(Acceptor* acceptor, grpc::CallbackServerContext* context, int64_t max_payload_bytes)
      : GrpcStream(max_payload_bytes),
        acceptor_(acceptor),
        context_(context),
        peer_(PeerAddress(context->peer())) {}

  void Begin();
  const std::string& peer() const { return peer_; }
  // The answers to a hello.
  void Welcome(std::shared_ptr<ReliableLink> link, uint64_t peer_received);
  void Refuse(const absl::Status& why);

  void OnReadDone(bool ok) override { ReadDone(ok); }
  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnCancel() override { Cut(); }
  void OnDone() override;

 protected:
  void WireWrite(const grpc::ByteBuffer* message) override { StartWrite(message); }
  void WireRead(grpc::ByteBuffer* message) override { StartRead(message); }
  void WireCancel() override { context_->TryCancel(); }
  void WireFinish() override { Finish(grpc::Status::OK); }
  void OnFirstMessage(absl::StatusOr<Frame> frame) override;
  void OnFirstWritten() override;

 private:
  Acceptor* const acceptor_;  // outlives the server, and so every stream in service
  grpc::CallbackServerContext* const context_;
  const std::string peer_;
  std::shared_ptr<GrpcStream> self_;  // until OnDone
  // Between the hello and the written welcome; reactions of that time come one after another.
  std::shared_ptr<ReliableLink> welcomed_;
  uint64_t peer_received_ = 0;
};

class Acceptor {
 public:
  Acceptor(const GrpcOptions& options, LinkServer::Accept accept, LinkServer::Opened opened)
      : options_(options), accept_(std::move(accept)), opened_(std::move(opened)) {}

  void OnHello(ServeStream* stream, const v1::LinkHello& hello);
  void EndAll();
  int64_t max_payload_bytes() const { return options_.link.max_payload_bytes; }

 private:
  using Key = std::tuple<std::string, uint32_t, uint32_t>;  // job, from, to
  struct Entry {
    uint64_t incarnation = 0;
    std::shared_ptr<ReliableLink> link;
  };
  // The registry forgets a link that is over; a link may outlive the server.
  struct Registry {
    Mutex mutex;
    std::map<Key, Entry> links ISTHMUS_GUARDED_BY(mutex);
  };

  std::shared_ptr<ReliableLink> Find(const Key& key, uint64_t incarnation);
  std::shared_ptr<ReliableLink> MakeLink(const Key& key, uint64_t incarnation,
                                         const std::string& peer);

  const GrpcOptions options_;
  const LinkServer::Accept accept_;
  const LinkServer::Opened opened_;
  const std::shared_ptr<Registry> registry_ = std::make_shared<Registry>();
};

std::shared_ptr<ReliableLink> Acceptor::Find(const Key& key, uint64_t incarnation) {
  MutexLock lock(&registry_->mutex);
  const auto it = registry_->links.find(key);
  if (it == registry_->links.end() || it->second.incarnation != incarnation) return nullptr;
  return it->second.link;
}

std::shared_ptr<ReliableLink> Acceptor::MakeLink(const Key& key, uint64_t incarnation,
                                                 const std::string& peer) {
  ReliableLink::Config config;
  config.options = options_.link;
  config.shaper = options_.shaper;
  config.peer = absl::StrCat("party ", std::get<1>(key), " at ", peer);
  config.tls = options_.tls.enabled();
  config.transport_pings = true;
  config.on_over = [registry = registry_, key, incarnation] {
    std::shared_ptr<ReliableLink> dropped;  // after the lock
    MutexLock lock(&registry->mutex);
    const auto it = registry->links.find(key);
    if (it == registry->links.end() || it->second.incarnation != incarnation) return;
    dropped = std::move(it->second.link);
    registry->links.erase(it);
  };
  auto link = std::make_shared<ReliableLink>(std::move(config));
  link->ExpectConnection();
  return link;
}

void Acceptor::OnHello(ServeStream* stream, const v1::LinkHello& hello) {
  const Key key(hello.job_id(), hello.from_party(), hello.to_party());
  if (const auto link = Find(key, hello.incarnation()); link != nullptr)
    return stream->Welcome(link, hello.received());
  if (hello.resumed()) {
    return stream->Refuse(Unavailable(
        "expected a link to resume, got none here: it was closed, or this side was started again"));
  }
  const LinkIdentity identity{hello.job_id(), hello.token(), hello.generation(), hello.from_party(),
                              hello.to_party()};
  if (absl::Status status = accept_(identity); !status.ok()) return stream->Refuse(status);
  std::shared_ptr<ReliableLink> link = MakeLink(key, hello.incarnation(), stream->peer());
  std::shared_ptr<ReliableLink> older;
  {
    MutexLock lock(&registry_->mutex);
    Entry& entry = registry_->links[key];
    older = std::exchange(entry.link, link);
    entry.incarnation = hello.incarnation();
  }
  if (older != nullptr)
    older->Fail(Unavailable("link to ", older->peer(),
                            ": expected one link, got a new one by the same party"));
  stream->Welcome(link, hello.received());
  opened_(identity, std::make_unique<CarriedLink>(std::move(link), nullptr));
}

void Acceptor::EndAll() {
  std::map<Key, Entry> links;
  {
    MutexLock lock(&registry_->mutex);
    links.swap(registry_->links);
  }
  for (const auto& [key, entry] : links)
    entry.link->Fail(
        Unavailable("link to ", entry.link->peer(), ": expected a server, got its shutdown"));
}

void ServeStream::Begin() {
  self_ = shared_from_this();
  ReadNext();
  Begun();
  Timers::Process()->At(NowUs() + kHandshakeUs, [weak = weak_from_this()] {
    if (const auto stream = weak.lock(); stream != nullptr) stream->CutUnlessAttached();
  });
}

void ServeStream::OnFirstMessage(absl::StatusOr<Frame> frame) {
  absl::StatusOr<v1::LinkHello> hello =
      frame.ok() ? ParseHello(*frame) : absl::StatusOr<v1::LinkHello>(frame.status());
  if (!hello.ok()) return Refuse(hello.status());
  acceptor_->OnHello(this, *hello);
}

void ServeStream::Welcome(std::shared_ptr<ReliableLink> link, uint64_t peer_received) {
  const uint64_t received = link->Resume();
  welcomed_ = std::move(link);
  peer_received_ = peer_received;
  Write(SealWelcome(received, absl::OkStatus()));
}

void ServeStream::Refuse(const absl::Status& why) { Write(SealWelcome(0, why)); }

void ServeStream::OnFirstWritten() {
  if (welcomed_ == nullptr) return FinishAfterWrite();
  AttachTo(std::move(welcomed_), peer_received_);
}

void ServeStream::OnDone() {
  const std::shared_ptr<GrpcStream> self = std::move(self_);
  if (const auto attached = link(); attached != nullptr)
    attached->OnGone(this, Unavailable("the peer's stream broke"));
}

class DataLinkService final
    : public v1::DataLink::WithRawCallbackMethod_Open<v1::DataLink::Service> {
 public:
  explicit DataLinkService(Acceptor* acceptor) : acceptor_(acceptor) {}
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Open(
      grpc::CallbackServerContext* context) override {
    const auto stream =
        std::make_shared<ServeStream>(acceptor_, context, acceptor_->max_payload_bytes());
    stream->Begin();
    return stream.get();  // alive until OnDone
  }

 private:
  Acceptor* const acceptor_;
};

class GrpcLinkServer final : public LinkServer {
 public:
  GrpcLinkServer(const GrpcOptions& options, Accept accept, Opened opened)
      : acceptor_(options, std::move(accept), std::move(opened)), service_(&acceptor_) {}
  ~GrpcLinkServer() override { Shutdown(); }

  absl::Status Start(const std::string& address, const GrpcOptions& options) {
    PrepareGrpc();
    ISTHMUS_ASSIGN_OR_RETURN(auto credentials, ServerCredentials(options.tls));
    grpc::ServerBuilder builder;
    AddLinkArguments(options, &builder);
    builder.AddListeningPort(address, credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return InvalidArgument("expected a free address of this machine, got ", address,
                             " (in use, or not ours)");
    }
    return absl::OkStatus();
  }
  int port() const override { return port_; }
  void Shutdown() override {
    acceptor_.EndAll();
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());  // cancels what is in progress
    server_->Wait();
    acceptor_.EndAll();  // who came in between
  }

 private:
  Acceptor acceptor_;
  DataLinkService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;  // first to go
};

}  // namespace

absl::StatusOr<std::unique_ptr<LinkServer>> LinkServer::Listen(const std::string& address,
                                                               const GrpcOptions& options,
                                                               Accept accept, Opened opened) {
  auto server = std::make_unique<GrpcLinkServer>(options, std::move(accept), std::move(opened));
  ISTHMUS_RETURN_IF_ERROR(server->Start(address, options));
  return std::unique_ptr<LinkServer>(std::move(server));
}

}  // namespace isthmus
