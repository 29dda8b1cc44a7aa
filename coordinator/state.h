// State: what the coordinator knows and decides. Pure: events in, commands out; no clock, no
// network, no thread.
//
//   workers   hello -> ready <-> busy -> lost; draining takes no new job
//   jobs      queued -> preparing -> running -> (stopping) -> completed | interrupted | failed
//
// A job waits until enough ready workers are there, is planned, every worker of the plan prepares,
// the client gets the plan. It ends when its client says so, its client's stream ends, one of its
// workers is lost, or somebody stops it. A worker whose stream broke has until its third heartbeat
// is missed to come back: a short break of the network costs nothing.
//
// Same events, same times: same commands. One thread.
#ifndef ISTHMUS_COORDINATOR_STATE_H_
#define ISTHMUS_COORDINATOR_STATE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isthmus/v1/control.pb.h"

namespace isthmus {

using StreamId = uint64_t;  // of a worker's or client's stream; never used twice

// MakePlan of pipeline/partitioner.h, or a fake.
using Planner = std::function<absl::StatusOr<v1::Plan>(const v1::PlanRequest& request,
                                                       absl::Span<const v1::WorkerInfo> workers,
                                                       const std::string& job_id)>;

struct Moment {
  int64_t us = 0;       // monotonic
  int64_t unix_us = 0;  // wall clock, for people
};

// ---- events
struct WorkerSaid {  // whatever came on a worker's stream
  StreamId stream;
  v1::WorkerEvent event;
};
struct WorkerStreamEnded {
  StreamId stream;
};
struct ClientSaid {
  StreamId stream;
  v1::ClientEvent event;
  std::string token;  // for a submit: unguessable, drawn by the caller
};
struct ClientStreamEnded {
  StreamId stream;
};
struct StopAsked {
  uint64_t call;  // answered by AnswerStop
  std::string job_id;
};
struct Tick {};            // time passed; at least every second
struct DrainRequested {};  // no new workers or jobs; running jobs stop
using Event = std::variant<WorkerSaid, WorkerStreamEnded, ClientSaid, ClientStreamEnded, StopAsked,
                           Tick, DrainRequested>;

// ---- commands
struct SendToWorker {
  StreamId stream;
  v1::WorkerCommand command;
};
struct SendToClient {
  StreamId stream;
  v1::ClientCommand command;
};
struct CloseStream {  // after everything sent before; nothing is sent to it again
  StreamId stream;
  absl::Status status;
};
struct AnswerStop {
  uint64_t call;
  absl::StatusOr<std::string> id;
};
struct SaveJob {  // the row changed in a way that must outlive this process
  v1::JobRow row;
};
struct SaveEvent {     // one line for the log and the history
  std::string job_id;  // empty: about a worker
  std::string text;
};
struct ForgetJobSeries {  // the job is over: its metrics may go in time
  std::string job_id;
};
using Command = std::variant<SendToWorker, SendToClient, CloseStream, AnswerStop, SaveJob,
                             SaveEvent, ForgetJobSeries>;
using Commands = std::vector<Command>;

struct StateOptions {
  uint32_t wire_version = 0;
  std::string version;               // of this program, for messages
  int64_t heartbeat_us = 1'000'000;  // told to workers; three missed: lost
  int64_t prepare_us = 30'000'000;   // a plan not prepared by then fails
  // A client told to stop has this long for its step and its checkpoint; on a slow link a step
  // alone can take a minute.
  int64_t stop_us = 300'000'000;
  int64_t release_us = 5'000'000;  // a worker of a finished job has this long to say so itself
  size_t max_workers = 256;
  size_t max_open_jobs = 256;    // queued or running
  size_t max_ended_jobs = 1000;  // remembered here; older ones are in the history only
};

class State {
 public:
  State(StateOptions options, Planner planner)
      : options_(std::move(options)), planner_(std::move(planner)) {}

  // History from an earlier life, oldest first; rows that were not over are returned as failed, to
  // be saved again. Before the first event.
  std::vector<v1::JobRow> Restore(std::vector<v1::JobRow> rows, int64_t next_job, Moment now);

  Commands Handle(const Event& event, Moment now);

  // Sorted by name; newest job last.
  std::vector<v1::WorkerRow> Workers(Moment now) const;
  std::vector<v1::JobRow> Jobs() const;
  bool draining() const { return draining_; }
  bool HasOpenJobs() const { return !open_.empty(); }

 private:
  struct Worker {
    v1::WorkerInfo info;
    StreamId stream = 0;  // 0: its stream broke while it was busy; it may come back
    int64_t heard_us = 0;
    bool heartbeat_seen = false;  // since the hello: the first one says which jobs it holds
    v1::Heartbeat heartbeat;
    bool draining = false;
    int64_t job = 0;  // busy with, or still clearing up after; 0: none
    std::vector<uint32_t> stages;
  };
  enum class Phase { kQueued, kPreparing, kRunning, kStopping };
  struct Job {
    int64_t number = 0;
    v1::JobRow row;
    Phase phase = Phase::kQueued;
    StreamId client = 0;
    v1::PlanRequest request;
    std::string token;
    v1::Plan plan;
    // Workers of the plan that have not ended their part -> said prepared.
    std::map<std::string, bool> prepared;
    int64_t deadline_us =
        0;  // of the phase; while running: 0, or when a worker's failure ends the job
    int64_t saved_us = 0;
    v1::JobStopped::Cause stop_cause = v1::JobStopped::UNKNOWN;
    std::string failing;  // a worker's own failure: the client's word, which knows more, is awaited
    std::string told;     // the newest notice
  };

  // Workers (state_workers.cc).
  void OnWorkerSaid(const WorkerSaid& said);
  void OnHello(StreamId stream, const v1::WorkerInfo& info);
  void OnHeartbeat(Worker& worker, const v1::Heartbeat& heartbeat);
  void OnPrepared(Worker& worker, const v1::JobPrepared& prepared);
  void OnEnded(Worker& worker, const v1::JobEnded& ended);
  void OnWorkerStreamEnded(const WorkerStreamEnded& ended);
  std::string RefusalOf(const v1::WorkerInfo& info) const;
  void LoseWorker(const std::string& name, const std::string& why);
  void LoseJobOf(Worker& worker, const std::string& why);
  void LoseSilentWorkers();
  void Release(Worker& worker);
  bool Ready(const Worker& worker) const;
  Worker* WorkerOfStream(StreamId stream);

  // Jobs (state_jobs.cc).
  void OnClientSaid(const ClientSaid& said);
  void OnSubmit(const ClientSaid& said);
  void OnProgress(Job& job, const v1::Progress& progress);
  void OnFinished(Job& job, const v1::Finished& finished);
  void OnClientStreamEnded(const ClientStreamEnded& ended);
  void OnStopAsked(const StopAsked& asked);
  void OnDrainRequested();
  void StartQueued();
  void Start(Job& job, const std::vector<v1::WorkerInfo>& ready);
  void Begin(Job& job, v1::Plan plan, const std::vector<v1::WorkerInfo>& ready);
  void RunWhenPrepared(Job& job);
  void AskToStop(Job& job, v1::JobStopped::Cause cause, const std::string& message);
  void Abort(Job& job, v1::JobStopped::Cause cause, const std::string& message);
  void End(Job& job, const std::string& status, const std::string& message, bool stop_workers);
  void CheckDeadlines();
  void StopLeftovers();
  void Tell(Job& job, const std::string& text);
  std::string Shortage(const Job& job) const;
  absl::StatusOr<int64_t> JobToStop(const std::string& id) const;
  Job* JobOfClient(StreamId stream);
  Job* OpenJob(int64_t number);

  std::string WireMismatch(uint32_t theirs, const std::string& who) const;
  void Dismiss(StreamId client, v1::JobStopped::Cause cause, const std::string& message);
  void StopWork(const Worker& worker, const std::string& job_id, const std::string& reason);
  void Save(Job& job);
  void Note(const std::string& job_id, std::string text);

  const StateOptions options_;
  const Planner planner_;
  bool draining_ = false;
  int64_t next_job_ = 1;
  std::map<std::string, Worker> workers_;  // by name
  std::map<int64_t, Job> open_;            // by number: first come, first served
  std::map<int64_t, int64_t>
      clearing_;                   // job that is over -> when its leftover workers are told to stop
  std::vector<v1::JobRow> ended_;  // oldest first
  Moment now_;                     // of the event being handled
  Commands out_;                   // of the event being handled
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_STATE_H_
