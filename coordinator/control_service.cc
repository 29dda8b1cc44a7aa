#include "coordinator/control_service.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/status.h"
#include "coordinator/probe_service.h"
#include "isthmus/v1/control.grpc.pb.h"
#include "link/grpc_environment.h"

namespace isthmus {
namespace {

// A peer that does not read: a plan and a few notices are all it can owe.
constexpr size_t kMaxWaitingWrites = 256;
// A plan names layers and edges, a request carries config.json: tens of kilobytes.
constexpr int kMaxMessageBytes = 4 << 20;

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// 128 bits from the kernel, as hexadecimal digits.
std::string DrawToken() {
  uint64_t words[2];
  ISTHMUS_CHECK(getentropy(words, sizeof words) == 0);
  return absl::StrCat(absl::Hex(words[0], absl::kZeroPad16), absl::Hex(words[1], absl::kZeroPad16));
}

// Calls that the io thread may still touch; Shutdown waits for the last before the server goes.
class CallCount {
 public:
  void Add(int change) {
    MutexLock lock(&mutex_);
    count_ += change;
    if (count_ == 0) none_.SignalAll();
  }
  void WaitForNone() {
    MutexLock lock(&mutex_);
    while (count_ > 0) none_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar none_;
  int count_ ISTHMUS_GUARDED_BY(mutex_) = 0;
};

Event SaidEvent(StreamId stream, v1::WorkerEvent event) {
  return WorkerSaid{stream, std::move(event)};
}
Event SaidEvent(StreamId stream, v1::ClientEvent event) {
  std::string token = event.has_submit() ? DrawToken() : "";
  return ClientSaid{stream, std::move(event), std::move(token)};
}
Event EndedEvent(StreamId stream, const v1::WorkerEvent*) { return WorkerStreamEnded{stream}; }
Event EndedEvent(StreamId stream, const v1::ClientEvent*) { return ClientStreamEnded{stream}; }

// One stream. Every gRPC operation starts on the io thread and one read is under way at most, so a
// peer that floods waits in its own socket. Finish is the last operation; the posted deletion runs
// after everything posted before it.
template <typename In, typename Out>
class StreamReactor final : public grpc::ServerBidiReactor<In, Out>, public ControlStream {
 public:
  StreamReactor(ControlLoop* loop, CallCount* count, grpc::CallbackServerContext* context)
      : loop_(loop), count_(count), context_(context) {
    count_->Add(1);
    loop_->Post([this] {
      id_ = loop_->Open(this);
      this->StartRead(&in_);
    });
  }

  void Write(const Out& message) override {
    if (closing_) return;
    if (waiting_.size() >= kMaxWaitingWrites) {
      return Break(absl::ResourceExhaustedError("control stream: the peer does not read"));
    }
    waiting_.push_back(message);
    if (waiting_.size() == 1) this->StartWrite(&waiting_.front());
  }

  void Close(const absl::Status& status) override {
    if (closing_) return;
    closing_ = true;
    close_status_ = ToGrpc(status);
    if (waiting_.empty()) this->Finish(close_status_);
  }

 private:
  void OnReadDone(bool ok) override {
    loop_->Post([this, ok] {
      if (closing_) return;
      if (!ok) return Break(absl::OkStatus());
      loop_->Handle(SaidEvent(id_, std::move(in_)));
      if (!closing_) this->StartRead(&in_);
    });
  }
  void OnWriteDone(bool ok) override {
    loop_->Post([this, ok] {
      waiting_.pop_front();
      if (!ok) waiting_.clear();
      if (!waiting_.empty()) {
        this->StartWrite(&waiting_.front());
      } else if (closing_) {
        this->Finish(close_status_);
      }
    });
  }
  void OnDone() override {
    loop_->Post([this] {
      CallCount* const count = count_;
      delete this;
      count->Add(-1);
    });
  }

  // The stream is over from this side's view: State hears of it once.
  void Break(const absl::Status& status) {
    Close(status);
    if (!waiting_.empty())
      context_->TryCancel();  // a write to a peer that does not read never ends by itself
    loop_->Closed(id_);
    loop_->Handle(EndedEvent(id_, static_cast<const In*>(nullptr)));
  }

  ControlLoop* const loop_;
  CallCount* const count_;
  grpc::CallbackServerContext* const context_;
  StreamId id_ = 0;
  In in_;
  std::deque<Out> waiting_;  // the first is being written
  bool closing_ = false;
  grpc::Status close_status_;
};

class ControlService final : public v1::Control::CallbackService {
 public:
  ControlService(ControlLoop* loop, CallCount* count) : loop_(loop), count_(count) {}

  grpc::ServerBidiReactor<v1::WorkerEvent, v1::WorkerCommand>* Work(
      grpc::CallbackServerContext* context) override {
    return new StreamReactor<v1::WorkerEvent, v1::WorkerCommand>(loop_, count_, context);
  }
  grpc::ServerBidiReactor<v1::ClientEvent, v1::ClientCommand>* Train(
      grpc::CallbackServerContext* context) override {
    return new StreamReactor<v1::ClientEvent, v1::ClientCommand>(loop_, count_, context);
  }
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const v1::ListWorkersRequest*,
                                        v1::ListWorkersResponse* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    Answer(reactor, [this, response] {
      for (v1::WorkerRow& row : loop_->Workers()) *response->add_workers() = std::move(row);
      return grpc::Status::OK;
    });
    return reactor;
  }
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest*,
                                     v1::ListJobsResponse* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    Answer(reactor, [this, response] {
      for (v1::JobRow& row : loop_->Jobs()) *response->add_jobs() = std::move(row);
      return grpc::Status::OK;
    });
    return reactor;
  }
  grpc::ServerUnaryReactor* StopJob(grpc::CallbackServerContext* context,
                                    const v1::StopJobRequest* request,
                                    v1::StopJobResponse* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    Answer(reactor, [this, request, response] {
      const absl::StatusOr<std::string> id = loop_->StopJob(request->id());
      if (id.ok()) response->set_id(*id);
      return ToGrpc(id.status());
    });
    return reactor;
  }

 private:
  void Answer(grpc::ServerUnaryReactor* reactor, std::function<grpc::Status()> make) {
    count_->Add(1);
    loop_->Post([this, reactor, make = std::move(make)] {
      reactor->Finish(make());
      count_->Add(-1);
    });
  }

  ControlLoop* const loop_;
  CallCount* const count_;
};

// A peer whose machine went away without a word is noticed within 10 s; peers may ping us as often.
void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 4000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 4000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 64);  // per connection
}

class GrpcControlServer final : public ControlServer {
 public:
  explicit GrpcControlServer(ControlLoop* loop) : service_(loop, &count_) {}
  ~GrpcControlServer() override { Shutdown(); }

  absl::Status Start(const std::string& address, const TlsFiles& tls) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                             ServerCredentials(tls));
    PrepareGrpc();
    grpc::ServerBuilder builder;
    SetLimits(builder);
    builder.AddListeningPort(address, credentials, &port_);
    builder.RegisterService(&service_);
    builder.RegisterService(&probe_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return InvalidArgument("--listen: expected a free address of this host, got ", address,
                             " (taken, or not ours)");
    }
    server_->GetHealthCheckService()->SetServingStatus(v1::Control::service_full_name(), true);
    return absl::OkStatus();
  }

  int port() const override { return port_; }

  void Shutdown() override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    count_.WaitForNone();
    server_ = nullptr;
  }

 private:
  CallCount count_;
  ControlService service_;
  ProbeService probe_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& address,
                                                                     const TlsFiles& tls,
                                                                     ControlLoop* loop) {
  auto server = std::make_unique<GrpcControlServer>(loop);
  ISTHMUS_RETURN_IF_ERROR(server->Start(address, tls));
  return server;
}

}  // namespace isthmus
