// JobControl on gRPC's synchronous stream: a job thread dials, reads and calls back; a writer
// thread beside it sends progress, of which only the newest waits, and the end.
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "base/thread.h"
#include "link/coordinator_channel.h"
#include "link/coordinator_client.h"

namespace isthmus {
namespace {

using Stream = grpc::ClientReaderWriter<v1::ClientEvent, v1::ClientCommand>;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kFinishPatience(5);
constexpr std::chrono::milliseconds kCancelPoll(100);

absl::Status StatusOf(const v1::JobStopped& stopped) {
  switch (stopped.cause()) {
    case v1::JobStopped::IMPOSSIBLE:
      return absl::InvalidArgumentError(stopped.message());
    case v1::JobStopped::STOPPED_BY_USER:
      return absl::CancelledError(stopped.message());
    default:
      return absl::UnavailableError(stopped.message());
  }
}

class StreamedJobControl final : public JobControl {
 public:
  StreamedJobControl(std::string coordinator, std::shared_ptr<grpc::Channel> channel,
                     v1::PlanRequest request, Callbacks callbacks)
      : coordinator_(std::move(coordinator)),
        channel_(std::move(channel)),
        stub_(v1::Control::NewStub(channel_)),
        request_(std::move(request)),
        callbacks_(std::move(callbacks)),
        deadline_(SteadyClock::now() +
                  std::chrono::microseconds(static_cast<int64_t>(request_.wait_s() * 1e6))),
        job_thread_("job-control", [this] { Run(); }) {}

  ~StreamedJobControl() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
      changed_.SignalAll();
    }
    job_thread_.Join();
  }

  absl::Status WaitForPlan() {
    while (true) {
      {
        MutexLock lock(&mutex_);
        if (planned_ || over_) return planned_ ? absl::OkStatus() : outcome_;
        changed_.WaitUntil(&mutex_, SteadyClock::now() + kCancelPoll);
        if (planned_ || over_) continue;
      }
      if (callbacks_.cancelled != nullptr && callbacks_.cancelled()) {
        return absl::CancelledError("cancelled before the job ran");
      }
    }
  }

  // Written before planned_ was set under the mutex, never after.
  const v1::Plan& plan() const override { return plan_.plan(); }
  const std::string& token() const override { return plan_.token(); }

  void ReportProgress(const v1::Progress& progress) override {
    MutexLock lock(&mutex_);
    progress_ = progress;
    changed_.SignalAll();
  }

  void Finished(const std::string& status, const std::string& message) override {
    const auto deadline = SteadyClock::now() + kFinishPatience;
    MutexLock lock(&mutex_);
    finished_.emplace();
    finished_->set_status(status);
    finished_->set_message(message);
    changed_.SignalAll();
    // From within a callback there is nobody else to read the stream's end.
    if (std::this_thread::get_id() == job_thread_id_) return;
    while (!over_ && SteadyClock::now() < deadline) changed_.WaitUntil(&mutex_, deadline);
  }

 private:
  void Run() {
    {
      MutexLock lock(&mutex_);
      job_thread_id_ = std::this_thread::get_id();
    }
    Backoff backoff;
    absl::Status status;
    do {
      status = RunStream();
    } while (absl::IsUnavailable(status) && !Answered() && WaitToRetry(backoff.NextUs()));
    bool broke = false;
    {
      MutexLock lock(&mutex_);
      broke = planned_ && !told_stopped_ && !finished_.has_value() && !stopping_;
      outcome_ = told_stopped_ ? outcome_ : status;
      over_ = true;
      changed_.SignalAll();
    }
    if (!broke) return;
    v1::JobStopped stopped;
    stopped.set_cause(v1::JobStopped::UNKNOWN);
    stopped.set_message(std::string(status.message()));
    callbacks_.stopped(stopped);
  }

  // False when the time is up or nobody wants the job any more.
  bool WaitToRetry(int64_t wait_us) {
    const auto until = SteadyClock::now() + std::chrono::microseconds(wait_us);
    AwaitConnection(channel_.get(), std::min(until, deadline_), [this] { return stopping(); });
    return !stopping() && SteadyClock::now() < deadline_;
  }

  bool stopping() {
    MutexLock lock(&mutex_);
    return stopping_;
  }

  bool Answered() {
    MutexLock lock(&mutex_);
    return answered_;
  }

  absl::Status RunStream() {
    grpc::ClientContext context;
    {
      MutexLock lock(&mutex_);
      if (stopping_) return absl::CancelledError("stopping");
      context_ = &context;
    }
    const std::unique_ptr<Stream> stream = stub_->Train(&context);
    if (stream->Write(Submission())) ServeStream(*stream, context);
    context.TryCancel();
    grpc::Status end = stream->Finish();
    MutexLock lock(&mutex_);
    context_ = nullptr;
    if (end.ok() || end.error_code() == grpc::StatusCode::CANCELLED) {
      end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "end of stream");
    }
    return FromCoordinator(end, coordinator_);
  }

  // What was spent waiting for the coordinator is no longer there to wait for workers.
  v1::ClientEvent Submission() const {
    v1::ClientEvent event;
    *event.mutable_submit() = request_;
    const std::chrono::duration<double> left = deadline_ - SteadyClock::now();
    event.mutable_submit()->set_wait_s(std::max(0.0, left.count()));
    return event;
  }

  void ServeStream(Stream& stream, grpc::ClientContext& context) {
    bool broken = false;  // guarded by mutex_
    Thread writer("job-write", [&] { WriteReports(stream, &broken); });
    v1::ClientCommand command;
    while (stream.Read(&command)) Obey(command);
    {
      MutexLock lock(&mutex_);
      broken = true;
      changed_.SignalAll();
    }
    context.TryCancel();
    writer.Join();
  }

  void Obey(const v1::ClientCommand& command) {
    {
      MutexLock lock(&mutex_);
      answered_ = true;
    }
    if (command.has_notice()) callbacks_.notice(command.notice().text());
    if (command.has_planned()) {
      MutexLock lock(&mutex_);
      if (planned_) return;  // plan() may be in use
      plan_ = command.planned();
      planned_ = true;
      changed_.SignalAll();
    }
    if (command.has_stopped()) OnStopped(command.stopped());
  }

  void OnStopped(const v1::JobStopped& stopped) {
    {
      MutexLock lock(&mutex_);
      told_stopped_ = true;
      outcome_ = StatusOf(stopped);
      if (!planned_ || finished_.has_value()) return;
    }
    callbacks_.stopped(stopped);
  }

  void WriteReports(Stream& stream, const bool* broken) {
    while (true) {
      v1::ClientEvent event;
      {
        MutexLock lock(&mutex_);
        while (!*broken && !stopping_ && !progress_.has_value() && !finished_.has_value()) {
          changed_.Wait(&mutex_);
        }
        if (*broken || stopping_) return;
        if (progress_.has_value()) {
          *event.mutable_progress() = *std::exchange(progress_, std::nullopt);
        } else {
          *event.mutable_finished() = *finished_;
        }
      }
      if (!stream.Write(event)) return;
      if (!event.has_finished()) continue;
      stream.WritesDone();
      return;
    }
  }

  const std::string coordinator_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Control::Stub> stub_;
  const v1::PlanRequest request_;
  const Callbacks callbacks_;
  const SteadyClock::time_point deadline_;
  Mutex mutex_;
  CondVar changed_;
  std::thread::id job_thread_id_ ISTHMUS_GUARDED_BY(mutex_);
  bool stopping_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool answered_ ISTHMUS_GUARDED_BY(mutex_) =
      false;  // a coordinator took the job: it is not submitted twice
  bool planned_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool told_stopped_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool over_ ISTHMUS_GUARDED_BY(mutex_) = false;  // no stream any more
  absl::Status outcome_ ISTHMUS_GUARDED_BY(mutex_);
  std::optional<v1::Progress> progress_ ISTHMUS_GUARDED_BY(mutex_);
  std::optional<v1::Finished> finished_ ISTHMUS_GUARDED_BY(mutex_);
  grpc::ClientContext* context_ ISTHMUS_GUARDED_BY(mutex_) = nullptr;
  v1::Planned plan_;
  Thread job_thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JobControl>> JobControl::Submit(const std::string& coordinator,
                                                               const TlsFiles& tls,
                                                               const v1::PlanRequest& request,
                                                               Callbacks callbacks) {
  ISTHMUS_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                           ControlChannel(coordinator, tls));
  auto control = std::make_unique<StreamedJobControl>(coordinator, std::move(channel), request,
                                                      std::move(callbacks));
  ISTHMUS_RETURN_IF_ERROR(control->WaitForPlan());
  return control;
}

}  // namespace isthmus
