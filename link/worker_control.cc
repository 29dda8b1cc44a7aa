// WorkerControl on gRPC's synchronous stream: a control thread dials, reads and obeys; while a
// stream stands, a writer thread beside it sends heartbeats and what the worker reports.
#include <chrono>
#include <deque>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread.h"
#include "link/coordinator_channel.h"
#include "link/coordinator_client.h"

namespace isthmus {
namespace {

using Stream = grpc::ClientReaderWriter<v1::WorkerEvent, v1::WorkerCommand>;
using SteadyClock = std::chrono::steady_clock;

class StreamedWorkerControl final : public WorkerControl {
 public:
  StreamedWorkerControl(std::string coordinator, std::shared_ptr<grpc::Channel> channel,
                        v1::WorkerInfo hello, Callbacks callbacks)
      : coordinator_(std::move(coordinator)),
        channel_(std::move(channel)),
        stub_(v1::Control::NewStub(channel_)),
        hello_(std::move(hello)),
        callbacks_(std::move(callbacks)),
        control_thread_("control", [this] { Run(); }) {}

  ~StreamedWorkerControl() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
      changed_.SignalAll();
    }
    control_thread_.Join();
  }

  // Of the first attempts: OK after a welcome, the refusal, or kUnavailable. After an error no
  // callback comes any more.
  absl::Status WaitForWelcome(int64_t wait_us) {
    const auto deadline = SteadyClock::now() + std::chrono::microseconds(wait_us);
    MutexLock lock(&mutex_);
    while (!welcomed_ && refusal_.empty() && SteadyClock::now() < deadline) {
      changed_.WaitUntil(&mutex_, deadline);
    }
    if (welcomed_) return absl::OkStatus();
    stopping_ = true;
    if (!refusal_.empty()) return absl::InvalidArgumentError(refusal_);
    if (!last_error_.ok()) return last_error_;
    return Unavailable("coordinator: expected a welcome from ", coordinator_,
                       ", got none (--coordinator)");
  }

  void Prepared(const std::string& job_id, uint32_t generation) override {
    v1::WorkerEvent event;
    event.mutable_prepared()->set_job_id(job_id);
    event.mutable_prepared()->set_generation(generation);
    Report(std::move(event));
  }

  void Ended(const std::string& job_id, const absl::Status& status) override {
    v1::WorkerEvent event;
    event.mutable_ended()->set_job_id(job_id);
    event.mutable_ended()->set_ok(status.ok());
    event.mutable_ended()->set_message(std::string(status.message()));
    Report(std::move(event));
  }

  void Draining() override {
    MutexLock lock(&mutex_);
    draining_ = true;
    changed_.SignalAll();
  }

  bool connected() const override {
    MutexLock lock(&mutex_);
    return connected_;
  }

 private:
  void Report(v1::WorkerEvent event) {
    MutexLock lock(&mutex_);
    reports_.push_back(std::move(event));
    changed_.SignalAll();
  }

  void Run() {
    Backoff backoff;
    while (true) {
      const absl::Status status = RunStream(&backoff);
      const auto until = SteadyClock::now() + std::chrono::microseconds(backoff.NextUs());
      {
        MutexLock lock(&mutex_);
        if (!stopping_ && welcomed_ && last_error_.ok()) {
          LogWarning("worker", "lost the coordinator, joins again: ", status.message());
        }
        last_error_ = status;
      }
      AwaitConnection(channel_.get(), until, [this] { return stopping(); });
      if (stopping()) return;
    }
  }

  bool stopping() {
    MutexLock lock(&mutex_);
    return stopping_;
  }

  // One stream from dialling to its end.
  absl::Status RunStream(Backoff* backoff) {
    grpc::ClientContext context;
    {
      MutexLock lock(&mutex_);
      if (stopping_) return absl::CancelledError("stopping");
      context_ = &context;
    }
    const std::unique_ptr<Stream> stream = stub_->Work(&context);
    v1::WorkerEvent hello;
    *hello.mutable_hello() = hello_;
    v1::WorkerCommand first;
    std::string refusal;
    if (stream->Write(hello) && stream->Read(&first)) {
      if (first.has_welcome()) {
        backoff->Reset();
        ServeStream(*stream, context, first.welcome().heartbeat_us());
      } else {
        refusal = first.refusal().reason();
      }
    }
    context.TryCancel();
    grpc::Status end = stream->Finish();
    MutexLock lock(&mutex_);
    context_ = nullptr;
    if (!refusal.empty()) {
      refusal_ = refusal;
      changed_.SignalAll();
      return absl::InvalidArgumentError(refusal);
    }
    if (end.ok() || end.error_code() == grpc::StatusCode::CANCELLED) {
      end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "end of stream");
    }
    return FromCoordinator(end, coordinator_);
  }

  void ServeStream(Stream& stream, grpc::ClientContext& context, int64_t heartbeat_us) {
    bool broken = false;  // guarded by mutex_
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
      welcomed_ = connected_ = true;
      last_error_ = absl::OkStatus();
      changed_.SignalAll();
    }
    Thread writer("control-write", [&] {
      WriteReports(stream, &broken, std::max<int64_t>(heartbeat_us, 10'000));
      context.TryCancel();  // a failed write ends the reads as well
    });
    v1::WorkerCommand command;
    while (stream.Read(&command)) Obey(command);
    {
      MutexLock lock(&mutex_);
      broken = true;
      connected_ = false;
      changed_.SignalAll();
    }
    context.TryCancel();
    writer.Join();
  }

  void Obey(const v1::WorkerCommand& command) {
    MutexLock lock(&callback_mutex_);
    if (command.has_prepare()) callbacks_.prepare(command.prepare());
    if (command.has_stop()) callbacks_.stop(command.stop());
  }

  // A report leaves the queue when it was written: what a broken stream left over goes out on the
  // next one.
  void WriteReports(Stream& stream, const bool* broken, int64_t heartbeat_us) {
    bool told_draining = false;
    auto heartbeat_due = SteadyClock::now();
    while (true) {
      v1::WorkerEvent event;
      bool report = false;
      {
        MutexLock lock(&mutex_);
        while (!stopping_ && !*broken && reports_.empty() && draining_ == told_draining &&
               SteadyClock::now() < heartbeat_due) {
          changed_.WaitUntil(&mutex_, heartbeat_due);
        }
        if (stopping_ || *broken) return;
        if (draining_ && !told_draining) {
          told_draining = true;
          event.mutable_draining();
        } else if (!reports_.empty()) {
          report = true;
          event = reports_.front();
        }
      }
      if (event.event_case() == v1::WorkerEvent::EVENT_NOT_SET) {
        heartbeat_due = SteadyClock::now() + std::chrono::microseconds(heartbeat_us);
        MutexLock lock(&callback_mutex_);
        *event.mutable_heartbeat() = callbacks_.heartbeat();
      }
      if (!stream.Write(event)) return;
      if (!report) continue;
      MutexLock lock(&mutex_);
      reports_.pop_front();
    }
  }

  const std::string coordinator_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Control::Stub> stub_;
  const v1::WorkerInfo hello_;
  const Callbacks callbacks_;
  Mutex callback_mutex_;  // callbacks come one at a time
  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool welcomed_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool connected_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool draining_ ISTHMUS_GUARDED_BY(mutex_) = false;
  std::string refusal_ ISTHMUS_GUARDED_BY(mutex_);
  absl::Status last_error_ ISTHMUS_GUARDED_BY(mutex_);
  grpc::ClientContext* context_ ISTHMUS_GUARDED_BY(mutex_) = nullptr;
  std::deque<v1::WorkerEvent> reports_ ISTHMUS_GUARDED_BY(mutex_);
  Thread control_thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerControl>> WorkerControl::Join(const std::string& coordinator,
                                                                   const TlsFiles& tls,
                                                                   const v1::WorkerInfo& hello,
                                                                   Callbacks callbacks,
                                                                   int64_t wait_us) {
  ISTHMUS_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                           ControlChannel(coordinator, tls));
  auto control = std::make_unique<StreamedWorkerControl>(coordinator, std::move(channel), hello,
                                                         std::move(callbacks));
  ISTHMUS_RETURN_IF_ERROR(control->WaitForWelcome(wait_us));
  return control;
}

}  // namespace isthmus
