// State's half about workers.
#include <algorithm>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "coordinator/job_id.h"
#include "coordinator/state.h"

namespace isthmus {
namespace {

constexpr int kMissedHeartbeats = 3;
constexpr size_t kMaxNameChars = 64;

bool GoodName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameChars &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

bool Holds(const v1::Heartbeat& heartbeat, const std::string& job_id) {
  return std::find(heartbeat.jobs().begin(), heartbeat.jobs().end(), job_id) !=
         heartbeat.jobs().end();
}

std::string Seconds(int64_t us) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(us) * 1e-6);
  return text;
}

}  // namespace

void State::OnWorkerSaid(const WorkerSaid& said) {
  Worker* worker = WorkerOfStream(said.stream);
  const bool hello = said.event.event_case() == v1::WorkerEvent::kHello;
  if (hello != (worker == nullptr)) {
    const std::string text = "control stream: expected one hello, first of all";
    out_.push_back(CloseStream{said.stream, absl::InvalidArgumentError(text)});
    if (worker == nullptr) return;
    worker->stream = 0;
    return LoseWorker(worker->info.name(), text);
  }
  if (hello) return OnHello(said.stream, said.event.hello());
  worker->heard_us = now_.us;
  switch (said.event.event_case()) {
    case v1::WorkerEvent::kHeartbeat:
      return OnHeartbeat(*worker, said.event.heartbeat());
    case v1::WorkerEvent::kPrepared:
      return OnPrepared(*worker, said.event.prepared());
    case v1::WorkerEvent::kEnded:
      return OnEnded(*worker, said.event.ended());
    case v1::WorkerEvent::kDraining:
      worker->draining = true;
      return Note("", absl::StrCat("worker ", worker->info.name(), " drains"));
    default:
      return;  // an event of a newer program with the same wire version: not ours to judge
  }
}

std::string State::RefusalOf(const v1::WorkerInfo& info) const {
  const std::string who = absl::StrCat("worker ", info.name(), ", ", info.version());
  if (std::string text = WireMismatch(info.wire_version(), who); !text.empty()) return text;
  if (!GoodName(info.name())) {
    return absl::StrCat("worker name: expected 1 to ", kMaxNameChars,
                        " letters, digits, '.', '_' or '-', got \"", info.name(), "\"");
  }
  if (info.address().empty()) {
    return absl::StrCat("worker address: expected HOST:PORT, got none (worker ", info.name(), ")");
  }
  const auto it = workers_.find(info.name());
  if (it != workers_.end() && it->second.stream != 0) {
    return absl::StrCat("worker name: expected one of its own, got ", info.name(),
                        ", which a worker at ", it->second.info.address(), " has (--name)");
  }
  if (it == workers_.end() && workers_.size() >= options_.max_workers) {
    return absl::StrCat("workers: expected at most ", options_.max_workers, ", got one more");
  }
  return "";
}

void State::OnHello(StreamId stream, const v1::WorkerInfo& info) {
  if (draining_) {
    out_.push_back(CloseStream{stream, absl::UnavailableError("the coordinator shuts down")});
    return;
  }
  if (const std::string refusal = RefusalOf(info); !refusal.empty()) {
    v1::WorkerCommand command;
    command.mutable_refusal()->set_reason(refusal);
    out_.push_back(SendToWorker{stream, std::move(command)});
    out_.push_back(CloseStream{stream, absl::OkStatus()});
    return Note("", absl::StrCat("refused a worker: ", refusal));
  }
  // The same name from elsewhere is another machine: what the old one held is gone.
  const auto old = workers_.find(info.name());
  if (old != workers_.end() && old->second.info.address() != info.address()) {
    LoseWorker(info.name(), absl::StrCat("its name joined again from ", info.address()));
  }
  Worker& worker = workers_[info.name()];
  worker.info = info;
  worker.stream = stream;
  worker.heard_us = now_.us;
  worker.heartbeat_seen = false;
  worker.draining = false;
  v1::WorkerCommand command;
  command.mutable_welcome()->set_heartbeat_us(options_.heartbeat_us);
  out_.push_back(SendToWorker{stream, std::move(command)});
  Note("", absl::StrCat("worker ", info.name(), " joined from ", info.address()));
}

void State::OnHeartbeat(Worker& worker, const v1::Heartbeat& heartbeat) {
  const bool first = !worker.heartbeat_seen;
  worker.heartbeat_seen = true;
  worker.heartbeat = heartbeat;
  // A worker that came back without its job is a new process under the old name.
  if (worker.job != 0 && !Holds(heartbeat, JobId(worker.job))) {
    if (OpenJob(worker.job) == nullptr) {
      Release(worker);
    } else if (first) {
      LoseJobOf(worker, "it came back without the job");
    }
  }
  for (const std::string& job_id : heartbeat.jobs()) {
    if (worker.job == 0 || job_id != JobId(worker.job)) {
      StopWork(worker, job_id, "the coordinator does not know this job any more");
    }
  }
}

void State::OnPrepared(Worker& worker, const v1::JobPrepared& prepared) {
  Job* job = OpenJob(worker.job);
  if (job == nullptr || prepared.job_id() != job->row.id() || job->phase != Phase::kPreparing ||
      prepared.generation() != job->plan.generation()) {
    return;  // of a plan that is no longer in force
  }
  const auto it = job->prepared.find(worker.info.name());
  if (it == job->prepared.end()) return;
  it->second = true;
  RunWhenPrepared(*job);
}

void State::OnEnded(Worker& worker, const v1::JobEnded& ended) {
  auto& held = *worker.heartbeat.mutable_jobs();
  held.erase(std::remove(held.begin(), held.end(), ended.job_id()), held.end());
  if (worker.job == 0 || ended.job_id() != JobId(worker.job)) return;
  Job* job = OpenJob(worker.job);
  const std::string name = worker.info.name();
  Release(worker);
  if (job == nullptr) return;
  if (job->phase == Phase::kPreparing) {
    return Abort(*job, v1::JobStopped::WORKER_LOST,
                 absl::StrCat("worker ", name, " could not prepare the job: ", ended.message()));
  }
  job->prepared.erase(name);
  if (ended.ok() || job->phase == Phase::kStopping || !job->failing.empty()) return;
  job->failing = absl::StrCat("worker ", name, " ended the job: ", ended.message());
  job->deadline_us = now_.us + options_.release_us;
}

void State::OnWorkerStreamEnded(const WorkerStreamEnded& ended) {
  Worker* worker = WorkerOfStream(ended.stream);
  if (worker == nullptr) return;
  worker->stream = 0;
  if (worker->job == 0) LoseWorker(worker->info.name(), "it left");
}

// Takes by value what it erases: callers pass names that live in the row.
void State::LoseWorker(const std::string& worker_name, const std::string& why) {
  const std::string name = worker_name;
  const auto it = workers_.find(name);
  if (it == workers_.end()) return;
  if (it->second.stream != 0) {
    out_.push_back(CloseStream{it->second.stream, absl::UnavailableError(why)});
    it->second.stream = 0;
  }
  Note("", absl::StrCat("worker ", name, " is gone: ", why));
  LoseJobOf(it->second, why);
  workers_.erase(it);
}

void State::LoseJobOf(Worker& worker, const std::string& why) {
  Job* job = OpenJob(worker.job);
  Release(worker);
  if (job == nullptr || job->prepared.erase(worker.info.name()) == 0) return;
  Abort(*job, v1::JobStopped::WORKER_LOST,
        absl::StrCat("worker ", worker.info.name(), " at ", worker.info.address(),
                     " was lost: ", why));
}

void State::LoseSilentWorkers() {
  std::vector<std::pair<std::string, int64_t>> silent;
  for (const auto& [name, worker] : workers_) {
    const int64_t age_us = now_.us - worker.heard_us;
    if (age_us > kMissedHeartbeats * options_.heartbeat_us) silent.emplace_back(name, age_us);
  }
  for (const auto& [name, age_us] : silent) {
    LoseWorker(name, absl::StrCat("no heartbeat for ", Seconds(age_us)));
  }
}

void State::Release(Worker& worker) {
  const int64_t job = worker.job;
  worker.job = 0;
  worker.stages.clear();
  const bool left = std::any_of(workers_.begin(), workers_.end(),
                                [&](const auto& other) { return other.second.job == job; });
  if (!left) clearing_.erase(job);
}

// A worker that still holds a job of an earlier coordinator is not ready before it let go of it.
bool State::Ready(const Worker& worker) const {
  return worker.stream != 0 && worker.job == 0 && !worker.draining && worker.heartbeat_seen &&
         worker.heartbeat.jobs().empty();
}

State::Worker* State::WorkerOfStream(StreamId stream) {
  for (auto& [name, worker] : workers_) {
    if (worker.stream == stream) return &worker;
  }
  return nullptr;
}

}  // namespace isthmus
