// A State with a fake planner and a time that moves only when told; what it sends lies in boxes by
// stream.
#ifndef ISTHMUS_TESTS_COORDINATOR_STATE_FIXTURE_H_
#define ISTHMUS_TESTS_COORDINATOR_STATE_FIXTURE_H_

#include <map>
#include <string>
#include <vector>

#include "coordinator/state.h"

namespace isthmus {

inline constexpr int64_t kTestSecondUs = 1'000'000;

// The first request.stages workers, one stage each (auto: all of them). The schedule names the
// failure a test wants.
inline absl::StatusOr<v1::Plan> FakePlan(const v1::PlanRequest& request,
                                         absl::Span<const v1::WorkerInfo> workers,
                                         const std::string& job_id) {
  if (request.schedule() == "impossible") return absl::InvalidArgumentError("schedule: no");
  if (request.schedule() == "few") return absl::UnavailableError("more, please");
  v1::Plan plan;
  plan.set_job_id(job_id);
  plan.set_generation(1);
  plan.add_parties()->set_name("client");
  plan.add_stages()->set_party(0);
  if (request.schedule() == "stranger") plan.add_parties()->set_name("stranger");
  const size_t count = request.stages() > 0 ? request.stages() : workers.size();
  for (size_t i = 0; i < count && i < workers.size(); ++i) {
    plan.add_parties()->set_name(workers[i].name());
    plan.add_stages()->set_party(i + 1);
  }
  plan.add_stages()->set_party(0);
  return plan;
}

struct Boxes {
  std::map<StreamId, std::vector<v1::WorkerCommand>> workers;
  std::map<StreamId, std::vector<v1::ClientCommand>> clients;
  std::map<StreamId, absl::Status> closed;
  std::map<uint64_t, absl::StatusOr<std::string>> answers;
  std::vector<v1::JobRow> saved;
  std::vector<std::string> forgotten;

  void Take(const Commands& commands) {
    for (const Command& command : commands) {
      if (const auto* c = std::get_if<SendToWorker>(&command)) {
        workers[c->stream].push_back(c->command);
      } else if (const auto* c = std::get_if<SendToClient>(&command)) {
        clients[c->stream].push_back(c->command);
      } else if (const auto* c = std::get_if<CloseStream>(&command)) {
        closed.emplace(c->stream, c->status);
      } else if (const auto* c = std::get_if<AnswerStop>(&command)) {
        answers.emplace(c->call, c->id);
      } else if (const auto* c = std::get_if<SaveJob>(&command)) {
        saved.push_back(c->row);
      } else if (const auto* c = std::get_if<ForgetJobSeries>(&command)) {
        forgotten.push_back(c->job_id);
      }
    }
  }
};

class TestCluster {
 public:
  explicit TestCluster(StateOptions options = Options()) : state(std::move(options), FakePlan) {}

  static StateOptions Options() {
    StateOptions options;
    options.wire_version = 7;
    options.version = "1.0";
    return options;
  }

  Moment now() const { return {now_us, now_us + 1'000'000'000}; }
  void Do(const Event& event) { boxes.Take(state.Handle(event, now())); }
  // Time passes in ticks of half a second; workers in `alive` keep beating.
  void Pass(int64_t us, const std::vector<StreamId>& alive = {}) {
    for (int64_t end_us = now_us + us; now_us < end_us;) {
      now_us += std::min<int64_t>(kTestSecondUs / 2, end_us - now_us);
      for (StreamId stream : alive) Beat(stream, jobs_of[stream]);
      Do(Tick{});
    }
  }

  static v1::WorkerInfo Info(const std::string& name) {
    v1::WorkerInfo info;
    info.set_name(name);
    info.set_address(name + ":7601");
    info.set_version("1.0");
    info.set_wire_version(7);
    return info;
  }
  void Hello(StreamId stream, const v1::WorkerInfo& info) {
    v1::WorkerEvent event;
    *event.mutable_hello() = info;
    Do(WorkerSaid{stream, event});
  }
  void Beat(StreamId stream, const std::vector<std::string>& jobs = {}) {
    v1::WorkerEvent event;
    event.mutable_heartbeat()->set_memory_bytes(100);
    for (const std::string& job : jobs) event.mutable_heartbeat()->add_jobs(job);
    Do(WorkerSaid{stream, event});
  }
  void Join(StreamId stream, const std::string& name) {
    Hello(stream, Info(name));
    Beat(stream);
  }
  void Prepared(StreamId stream, const std::string& job, uint32_t generation = 1) {
    jobs_of[stream] = {job};
    v1::WorkerEvent event;
    event.mutable_prepared()->set_job_id(job);
    event.mutable_prepared()->set_generation(generation);
    Do(WorkerSaid{stream, event});
  }
  void Ended(StreamId stream, const std::string& job, bool ok = true,
             const std::string& message = "") {
    jobs_of[stream].clear();
    v1::WorkerEvent event;
    event.mutable_ended()->set_job_id(job);
    event.mutable_ended()->set_ok(ok);
    event.mutable_ended()->set_message(message);
    Do(WorkerSaid{stream, event});
  }
  void Drain(StreamId stream) {
    v1::WorkerEvent event;
    event.mutable_draining();
    Do(WorkerSaid{stream, event});
  }

  static v1::PlanRequest Request(int64_t stages, double wait_s = 60) {
    v1::PlanRequest request;
    request.set_stages(stages);
    request.set_wait_s(wait_s);
    request.set_wire_version(7);
    request.set_version("1.0");
    request.set_total_steps(100);
    return request;
  }
  void Submit(StreamId stream, const v1::PlanRequest& request) {
    v1::ClientEvent event;
    *event.mutable_submit() = request;
    Do(ClientSaid{stream, event, "token-" + std::to_string(stream)});
  }
  void Progress(StreamId stream, int64_t step) {
    v1::ClientEvent event;
    event.mutable_progress()->set_step(step);
    event.mutable_progress()->set_loss(1.5);
    Do(ClientSaid{stream, event, ""});
  }
  void Finish(StreamId stream, const std::string& status, const std::string& message = "") {
    v1::ClientEvent event;
    event.mutable_finished()->set_status(status);
    event.mutable_finished()->set_message(message);
    Do(ClientSaid{stream, event, ""});
  }

  v1::JobRow Job(const std::string& id) const {
    for (const v1::JobRow& row : state.Jobs()) {
      if (row.id() == id) return row;
    }
    return {};
  }
  std::string WorkerState(const std::string& name) const {
    for (const v1::WorkerRow& row : state.Workers(now())) {
      if (row.info().name() == name) return row.state();
    }
    return "none";
  }
  // The newest JobStopped a client got; cause -1: none.
  std::pair<int, std::string> Stopped(StreamId client) const {
    const auto it = boxes.clients.find(client);
    if (it == boxes.clients.end()) return {-1, ""};
    for (auto c = it->second.rbegin(); c != it->second.rend(); ++c) {
      if (c->has_stopped()) return {c->stopped().cause(), c->stopped().message()};
    }
    return {-1, ""};
  }
  std::string LastNotice(StreamId client) const {
    const auto it = boxes.clients.find(client);
    if (it == boxes.clients.end()) return "";
    for (auto c = it->second.rbegin(); c != it->second.rend(); ++c) {
      if (c->has_notice()) return c->notice().text();
    }
    return "";
  }
  bool Planned(StreamId client) const {
    const auto it = boxes.clients.find(client);
    if (it == boxes.clients.end()) return false;
    for (const v1::ClientCommand& c : it->second) {
      if (c.has_planned()) return true;
    }
    return false;
  }
  // Why a worker was told to stop `job`; empty: it was not.
  std::string StopReason(StreamId worker, const std::string& job) const {
    const auto it = boxes.workers.find(worker);
    if (it == boxes.workers.end()) return "";
    for (auto c = it->second.rbegin(); c != it->second.rend(); ++c) {
      if (c->has_stop() && c->stop().job_id() == job) return c->stop().reason();
    }
    return "";
  }
  // Two workers on streams 1 and 2, a job of client 10 that runs on both.
  void RunJobOnTwo() {
    Join(1, "a");
    Join(2, "b");
    Submit(10, Request(2));
    Prepared(1, "job-1");
    Prepared(2, "job-1");
  }

  int64_t now_us = 100 * kTestSecondUs;
  State state;
  Boxes boxes;
  std::map<StreamId, std::vector<std::string>> jobs_of;  // what workers say they hold
};

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_COORDINATOR_STATE_FIXTURE_H_
