// ControlLoop: the io thread's side of the coordinator. Owns State; feeds it events, carries its
// commands out.
//
// Threads: everything runs on the thread of `io` but Post, which any thread may call.
#ifndef ISTHMUS_COORDINATOR_CONTROL_LOOP_H_
#define ISTHMUS_COORDINATOR_CONTROL_LOOP_H_

#include <functional>
#include <map>
#include <string>

#include "base/clock.h"
#include "coordinator/asio.h"
#include "coordinator/history.h"
#include "coordinator/state.h"

namespace isthmus {

// The network's end of a stream. A stream that was closed gets no further call and makes no further
// event.
class ControlStream {
 public:
  virtual ~ControlStream() = default;
  virtual void Write(const v1::WorkerCommand&) {}
  virtual void Write(const v1::ClientCommand&) {}
  virtual void Close(const absl::Status& status) = 0;  // after what was written
};

class ControlLoop {
 public:
  // `history` may be null: nothing outlives the process then.
  ControlLoop(boost::asio::io_context* io, StateOptions options, Planner planner, History* history,
              Clock* clock = Clock::Real());

  // Reads the history and starts to tick.
  absl::Status Start();

  void Post(std::function<void()> task) { boost::asio::post(*io_, std::move(task)); }

  StreamId Open(ControlStream* stream);
  void Closed(StreamId stream) { streams_.erase(stream); }  // by the stream, before it goes
  void Handle(const Event& event);
  absl::StatusOr<std::string> StopJob(const std::string& job_id);

  // Stops taking jobs; calls `drained` once, when no job is open any more or `limit_us` passed.
  void Drain(int64_t limit_us, std::function<void()> drained);
  void StopTicking();

  std::vector<v1::WorkerRow> Workers() const { return state_.Workers(Now()); }
  std::vector<v1::JobRow> Jobs() const { return state_.Jobs(); }
  bool draining() const { return state_.draining(); }
  const absl::Status& history_status() const { return history_status_; }  // of the newest write

 private:
  Moment Now() const { return {clock_->NowUs(), clock_->UnixUs()}; }
  void Tick();
  void Obey(const Commands& commands);
  void Publish();
  void CheckDrained();

  boost::asio::io_context* const io_;
  boost::asio::steady_timer ticker_;
  const int64_t tick_us_;
  bool ticking_ = true;
  Clock* const clock_;
  History* const history_;
  absl::Status history_status_;
  State state_;
  StreamId next_stream_ = 1;
  uint64_t next_call_ = 1;
  std::map<StreamId, ControlStream*> streams_;
  std::map<uint64_t, absl::StatusOr<std::string>> stop_answers_;
  std::function<void()> drained_;
  int64_t drain_deadline_us_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_CONTROL_LOOP_H_
