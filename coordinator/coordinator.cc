#include "coordinator/coordinator.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread.h"
#include "coordinator/asio.h"
#include "coordinator/control_loop.h"
#include "coordinator/control_service.h"
#include "coordinator/http_api.h"
#include "coordinator/http_server.h"
#include "link/frame.h"
#include "metrics/metrics.h"

namespace isthmus {
namespace {

StateOptions StateOptionsOf(const CoordinatorOptions& options) {
  StateOptions state;
  state.wire_version = kWireVersion;
  state.version = options.version;
  state.heartbeat_us = options.heartbeat_us;
  return state;
}

class RunningCoordinator final : public Coordinator {
 public:
  RunningCoordinator(const CoordinatorOptions& options, Planner planner)
      : options_(options), planner_(std::move(planner)) {}

  ~RunningCoordinator() override {
    if (control_ != nullptr) control_->Shutdown();
    if (io_thread_.running()) {
      loop_->Post([this] {
        if (http_ != nullptr) http_->Close();
        loop_->StopTicking();
        work_.reset();
      });
      io_thread_.Join();
    }
  }

  absl::Status Start() {
    ISTHMUS_RETURN_IF_ERROR(
        CheckAddressSecurity(options_.listen, options_.tls, options_.insecure, "--listen"));
    ISTHMUS_RETURN_IF_ERROR(
        CheckAddressSecurity(options_.http, options_.tls, options_.insecure, "--http"));
    if (!options_.state_dir.empty()) {
      ISTHMUS_ASSIGN_OR_RETURN(history_, History::Open(options_.state_dir));
    }
    Metrics::Global().DeclareRole("coordinator", options_.version);
    loop_.emplace(&io_, StateOptionsOf(options_), planner_, history_.get());
    ISTHMUS_ASSIGN_OR_RETURN(
        http_, HttpServer::Listen(&io_, options_.http, "--http", MakeHttpApi(Sources())));
    ISTHMUS_RETURN_IF_ERROR(loop_->Start());
    work_.emplace(io_.get_executor());
    io_thread_ = Thread("io", [this] { io_.run(); });
    ISTHMUS_ASSIGN_OR_RETURN(control_,
                             ControlServer::Listen(options_.listen, options_.tls, &*loop_));
    loop_->Post([this] { serving_ = true; });
    LogInfo("coordinator", "serves gRPC at port ", grpc_port(), ", HTTP at port ", http_port());
    return absl::OkStatus();
  }

  int grpc_port() const override { return control_->port(); }
  int http_port() const override { return http_->port(); }

  void Drain() override {
    loop_->Post([this] { DrainOnIo(); });
  }

  void WaitUntilDrained() override {
    MutexLock lock(&mutex_);
    while (!drained_) drained_changed_.Wait(&mutex_);
  }

 private:
  HttpSources Sources() {
    HttpSources sources;
    sources.version = options_.version;
    sources.workers = [this] { return loop_->Workers(); };
    sources.jobs = [this] { return loop_->Jobs(); };
    sources.not_ready = [this]() -> std::string {
      if (!serving_) return "gRPC does not answer yet";
      if (loop_->draining()) return "the coordinator shuts down";
      if (!loop_->history_status().ok()) return std::string(loop_->history_status().message());
      return "";
    };
    return sources;
  }

  void DrainOnIo() {
    const int64_t limit_us = loop_->draining() ? 0 : options_.drain_us;
    loop_->Drain(limit_us, [this] {
      MutexLock lock(&mutex_);
      drained_ = true;
      drained_changed_.SignalAll();
    });
  }

  const CoordinatorOptions options_;
  const Planner planner_;
  std::unique_ptr<History> history_;
  boost::asio::io_context io_{1};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::optional<ControlLoop> loop_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<ControlServer> control_;
  bool serving_ = false;  // io thread
  Mutex mutex_;
  CondVar drained_changed_;
  bool drained_ ISTHMUS_GUARDED_BY(mutex_) = false;
  Thread io_thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(const CoordinatorOptions& options,
                                                                Planner planner) {
  auto coordinator = std::make_unique<RunningCoordinator>(options, std::move(planner));
  ISTHMUS_RETURN_IF_ERROR(coordinator->Start());
  return coordinator;
}

}  // namespace isthmus
