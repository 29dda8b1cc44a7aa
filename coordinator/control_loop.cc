#include "coordinator/control_loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/status.h"
#include "metrics/metrics.h"

namespace isthmus {
namespace {

// A fresh screen of the status page, not the whole history.
constexpr int kRestoredJobs = 200;

}  // namespace

ControlLoop::ControlLoop(boost::asio::io_context* io, StateOptions options, Planner planner,
                         History* history, Clock* clock)
    : io_(io),
      ticker_(*io),
      tick_us_(std::min<int64_t>(options.heartbeat_us / 2, 250'000)),
      clock_(clock),
      history_(history),
      state_(std::move(options), std::move(planner)) {}

absl::Status ControlLoop::Start() {
  if (history_ != nullptr) {
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<v1::JobRow> rows, history_->NewestJobs(kRestoredJobs));
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t next_job, history_->NextJob());
    for (const v1::JobRow& row : state_.Restore(std::move(rows), next_job, Now())) {
      ISTHMUS_RETURN_IF_ERROR(history_->SaveJob(row));
    }
  }
  Tick();
  return absl::OkStatus();
}

StreamId ControlLoop::Open(ControlStream* stream) {
  const StreamId id = next_stream_++;
  streams_[id] = stream;
  return id;
}

void ControlLoop::Handle(const Event& event) {
  Obey(state_.Handle(event, Now()));
  CheckDrained();
}

absl::StatusOr<std::string> ControlLoop::StopJob(const std::string& job_id) {
  const uint64_t call = next_call_++;
  Handle(StopAsked{call, job_id});
  auto answer = stop_answers_.extract(call);
  ISTHMUS_CHECK(!answer.empty());
  return std::move(answer.mapped());
}

void ControlLoop::Drain(int64_t limit_us, std::function<void()> drained) {
  drained_ = std::move(drained);
  drain_deadline_us_ = clock_->NowUs() + limit_us;
  Handle(DrainRequested{});
}

void ControlLoop::CheckDrained() {
  if (drained_ == nullptr) return;
  if (state_.HasOpenJobs() && clock_->NowUs() < drain_deadline_us_) return;
  std::exchange(drained_, nullptr)();
}

void ControlLoop::Tick() {
  Handle(isthmus::Tick{});
  Publish();
  ticker_.expires_after(std::chrono::microseconds(tick_us_));
  ticker_.async_wait([this](const boost::system::error_code&) {
    if (ticking_) Tick();
  });
}

// Cancelling alone is not enough: a tick that is due is queued already and would arm the next one.
void ControlLoop::StopTicking() {
  ticking_ = false;
  ticker_.cancel();
}

void ControlLoop::Obey(const Commands& commands) {
  struct Visitor {
    ControlLoop* loop;
    ControlStream* Stream(StreamId id) {
      const auto it = loop->streams_.find(id);
      return it == loop->streams_.end() ? nullptr : it->second;
    }
    void operator()(const SendToWorker& c) {
      if (ControlStream* stream = Stream(c.stream)) stream->Write(c.command);
    }
    void operator()(const SendToClient& c) {
      if (ControlStream* stream = Stream(c.stream)) stream->Write(c.command);
    }
    void operator()(const CloseStream& c) {
      ControlStream* stream = Stream(c.stream);
      if (stream == nullptr) return;
      loop->streams_.erase(c.stream);
      stream->Close(c.status);
    }
    void operator()(const AnswerStop& c) { loop->stop_answers_.emplace(c.call, c.id); }
    void operator()(const SaveJob& c) {
      if (loop->history_ != nullptr) loop->history_status_ = loop->history_->SaveJob(c.row);
    }
    void operator()(const SaveEvent& c) {
      LogInfo("coordinator", c.job_id, c.job_id.empty() ? "" : ": ", c.text);
      if (loop->history_ == nullptr) return;
      loop->history_status_ = loop->history_->SaveEvent(loop->clock_->UnixUs(), c.job_id, c.text);
    }
    void operator()(const ForgetJobSeries& c) { Metrics::Global().JobEnded(c.job_id); }
  };
  const bool could_write = history_status_.ok();
  Visitor visitor{this};
  for (const Command& command : commands) std::visit(visitor, command);
  if (could_write && !history_status_.ok()) {
    LogError("coordinator", history_status_.message(), "; going on without history");
  }
}

void ControlLoop::Publish() {
  std::map<std::string, double> states = {{"ready", 0}, {"busy", 0}, {"draining", 0}};
  std::vector<std::pair<LabelValues, double>> ages;
  for (const v1::WorkerRow& row : Workers()) {
    states[row.state()] += 1;
    ages.push_back({{row.info().name()}, static_cast<double>(row.last_heartbeat_age_us()) * 1e-6});
  }
  std::map<std::string, double> statuses = {
      {"queued", 0}, {"running", 0}, {"completed", 0}, {"interrupted", 0}, {"failed", 0}};
  for (const v1::JobRow& row : Jobs()) {
    statuses[row.status()] += 1;
    if (row.status() == "running" && row.step() > 0) {
      Metrics::Global().Get(kLoss, {row.id()}).Set(row.loss());
    }
  }
  const auto series = [](const std::map<std::string, double>& counts) {
    std::vector<std::pair<LabelValues, double>> out;
    for (const auto& [label, count] : counts) out.push_back({{label}, count});
    return out;
  };
  Metrics::Global().Replace(kWorkers, series(states));
  Metrics::Global().Replace(kJobs, series(statuses));
  Metrics::Global().Replace(kHeartbeatAgeSeconds, ages);
}

}  // namespace isthmus
