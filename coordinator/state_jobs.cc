// State's half about jobs.
#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "coordinator/job_id.h"
#include "coordinator/state.h"

namespace isthmus {
namespace {

constexpr double kMaxWaitSeconds = 7 * 24 * 3600;
// Progress comes every step; the history needs it only to show where a dead job was.
constexpr int64_t kSaveProgressUs = 10'000'000;

int64_t WorkersNeeded(const v1::PlanRequest& request) {
  return std::max<int64_t>(1, request.stages());
}

v1::ClientCommand Stopped(v1::JobStopped::Cause cause, const std::string& message) {
  v1::ClientCommand command;
  command.mutable_stopped()->set_cause(cause);
  command.mutable_stopped()->set_message(message);
  return command;
}

bool KnownEnd(const std::string& status) {
  return status == "completed" || status == "interrupted" || status == "failed";
}

// Who of `ready` runs which stages; empty when the plan names a worker that was not offered or one
// twice: the planner's bug.
std::map<std::string, std::vector<uint32_t>> StagesByWorker(
    const v1::Plan& plan, const std::vector<v1::WorkerInfo>& ready) {
  std::map<std::string, std::vector<uint32_t>> stages;
  for (int party = 1; party < plan.parties_size(); ++party) {
    const std::string& name = plan.parties(party).name();
    const bool offered = std::any_of(ready.begin(), ready.end(), [&](const v1::WorkerInfo& info) {
      return info.name() == name;
    });
    if (!offered || !stages.emplace(name, std::vector<uint32_t>()).second) return {};
  }
  for (int stage = 0; stage < plan.stages_size(); ++stage) {
    const uint32_t party = plan.stages(stage).party();
    if (party >= static_cast<uint32_t>(plan.parties_size())) return {};
    if (party > 0) stages[plan.parties(party).name()].push_back(stage);
  }
  return stages;
}

}  // namespace

void State::OnClientSaid(const ClientSaid& said) {
  Job* job = JobOfClient(said.stream);
  const auto kind = said.event.event_case();
  if ((kind == v1::ClientEvent::kSubmit) != (job == nullptr)) {
    const std::string text = "job stream: expected one request, first of all";
    if (job != nullptr) return Abort(*job, v1::JobStopped::UNKNOWN, text);
    out_.push_back(CloseStream{said.stream, absl::InvalidArgumentError(text)});
    return;
  }
  if (kind == v1::ClientEvent::kSubmit) return OnSubmit(said);
  if (kind == v1::ClientEvent::kProgress) return OnProgress(*job, said.event.progress());
  if (kind == v1::ClientEvent::kFinished) return OnFinished(*job, said.event.finished());
}

void State::OnSubmit(const ClientSaid& said) {
  const v1::PlanRequest& request = said.event.submit();
  const std::string mismatch =
      WireMismatch(request.wire_version(), absl::StrCat("client, ", request.version()));
  if (!mismatch.empty()) return Dismiss(said.stream, v1::JobStopped::IMPOSSIBLE, mismatch);
  if (request.stages() < 0) {
    return Dismiss(
        said.stream, v1::JobStopped::IMPOSSIBLE,
        absl::StrCat("pipeline.stages: expected auto or at least 1, got ", request.stages()));
  }
  if (draining_) {
    return Dismiss(said.stream, v1::JobStopped::DRAINING, "the coordinator shuts down");
  }
  if (open_.size() >= options_.max_open_jobs) {
    return Dismiss(said.stream, v1::JobStopped::NO_WORKERS,
                   absl::StrCat("jobs: expected at most ", options_.max_open_jobs,
                                " queued or running, got one more"));
  }
  const int64_t number = next_job_++;
  Job& job = open_[number];
  job.number = number;
  job.client = said.stream;
  job.request = request;
  job.token = said.token;
  const double wait_s = request.wait_s() >= 0 ? std::min(request.wait_s(), kMaxWaitSeconds) : 0;
  job.deadline_us = now_.us + static_cast<int64_t>(wait_s * 1e6);
  job.row.set_id(JobId(number));
  job.row.set_name(request.job_name());
  job.row.set_status("queued");
  job.row.set_total_steps(request.total_steps());
  job.row.set_submitted_unix_us(now_.unix_us);
  Save(job);
  Note(job.row.id(), "queued");
}

void State::OnProgress(Job& job, const v1::Progress& progress) {
  job.row.set_step(progress.step());
  job.row.set_loss(progress.loss());
  job.row.set_tokens_per_s(progress.tokens_per_s());
  job.row.set_wire_bytes(progress.wire_bytes());
  if (now_.us - job.saved_us >= kSaveProgressUs) Save(job);
}

void State::OnFinished(Job& job, const v1::Finished& finished) {
  out_.push_back(CloseStream{job.client, absl::OkStatus()});
  if (!KnownEnd(finished.status())) {
    return End(job, "failed",
               absl::StrCat("status: expected completed, interrupted or failed, got \"",
                            finished.status(), "\" (client)"),
               true);
  }
  // The client told its workers itself unless it failed.
  End(job, finished.status(), finished.message(), finished.status() == "failed");
}

void State::OnClientStreamEnded(const ClientStreamEnded& ended) {
  Job* job = JobOfClient(ended.stream);
  if (job == nullptr) return;
  const bool asked = job->phase == Phase::kStopping;
  End(*job, asked ? "interrupted" : "failed", "the client is gone", true);
}

absl::StatusOr<int64_t> State::JobToStop(const std::string& id) const {
  if (id.empty()) {
    if (open_.size() == 1) return open_.begin()->first;
    if (open_.empty()) return NotFound("stop: expected a queued or running job, got none");
    std::vector<std::string> ids;
    for (const auto& [number, job] : open_) ids.push_back(job.row.id());
    return InvalidArgument("stop: expected the id of one job, got none (open are ",
                           absl::StrJoin(ids, ", "), ")");
  }
  const int64_t number = JobNumber(id);
  if (open_.count(number) > 0) return number;
  for (const v1::JobRow& row : ended_) {
    if (row.id() == id) {
      return InvalidArgument("stop: expected a queued or running job, got ", id, ", which is ",
                             row.status());
    }
  }
  return NotFound("stop: expected the id of a job, got \"", id, "\"");
}

void State::OnStopAsked(const StopAsked& asked) {
  const absl::StatusOr<int64_t> number = JobToStop(asked.job_id);
  if (!number.ok()) {
    out_.push_back(AnswerStop{asked.call, number.status()});
    return;
  }
  out_.push_back(AnswerStop{asked.call, JobId(*number)});
  AskToStop(open_.at(*number), v1::JobStopped::STOPPED_BY_USER, "stopped by isthmus stop");
}

void State::OnDrainRequested() {
  if (draining_) return;
  draining_ = true;
  Note("", "drains");
  std::vector<int64_t> numbers;
  for (const auto& [number, job] : open_) numbers.push_back(number);
  for (int64_t number : numbers) {
    AskToStop(open_.at(number), v1::JobStopped::DRAINING, "the coordinator shuts down");
  }
}

// A running job's client gets time for its checkpoint, which needs the workers; a waiting job just
// ends, and so does one that is asked by a user for the second time.
void State::AskToStop(Job& job, v1::JobStopped::Cause cause, const std::string& message) {
  const bool again = cause == v1::JobStopped::STOPPED_BY_USER && job.stop_cause == cause;
  if (job.phase == Phase::kStopping && !again) return;
  if (job.phase != Phase::kRunning) return Abort(job, cause, message);
  job.phase = Phase::kStopping;
  job.stop_cause = cause;
  job.deadline_us = now_.us + options_.stop_us;
  job.row.set_message(message);
  out_.push_back(SendToClient{job.client, Stopped(cause, message)});
  Note(job.row.id(), message);
}

void State::Abort(Job& job, v1::JobStopped::Cause cause, const std::string& message) {
  const bool asked = job.phase == Phase::kStopping || cause == v1::JobStopped::STOPPED_BY_USER ||
                     cause == v1::JobStopped::DRAINING;
  Dismiss(job.client, cause, message);
  End(job, asked ? "interrupted" : "failed", message, true);
}

void State::Dismiss(StreamId client, v1::JobStopped::Cause cause, const std::string& message) {
  out_.push_back(SendToClient{client, Stopped(cause, message)});
  out_.push_back(CloseStream{client, absl::OkStatus()});
}

void State::End(Job& job, const std::string& status, const std::string& message,
                bool stop_workers) {
  job.row.set_status(status);
  job.row.set_message(message);
  job.row.set_ended_unix_us(now_.unix_us);
  Save(job);
  Note(job.row.id(), message.empty() ? status : absl::StrCat(status, ": ", message));
  out_.push_back(ForgetJobSeries{job.row.id()});
  for (const auto& [name, worker] : workers_) {
    if (worker.job != job.number) continue;
    if (stop_workers) StopWork(worker, job.row.id(), message);
    clearing_[job.number] = now_.us + options_.release_us;
  }
  ended_.push_back(job.row);
  if (ended_.size() > options_.max_ended_jobs) ended_.erase(ended_.begin());
  open_.erase(job.number);
}

void State::CheckDeadlines() {
  std::vector<int64_t> due;
  for (const auto& [number, job] : open_) {
    // A queued job is tried once more before it is given up: StartQueued comes after this only when
    // there is time left.
    if (job.deadline_us != 0 && now_.us > job.deadline_us) due.push_back(number);
  }
  for (int64_t number : due) {
    Job& job = open_.at(number);
    std::vector<std::string> missing;
    for (const auto& [name, prepared] : job.prepared) {
      if (!prepared) missing.push_back(name);
    }
    switch (job.phase) {
      case Phase::kQueued:
        Abort(job, v1::JobStopped::NO_WORKERS, Shortage(job));
        break;
      case Phase::kPreparing:
        Abort(job, v1::JobStopped::WORKER_LOST,
              absl::StrCat("not prepared in time: worker ", absl::StrJoin(missing, ", ")));
        break;
      case Phase::kRunning:
        Abort(job, v1::JobStopped::WORKER_LOST, job.failing);
        break;
      case Phase::kStopping:
        Abort(job, job.stop_cause, "the client did not finish in time after it was asked to stop");
        break;
    }
  }
}

void State::StopLeftovers() {
  for (auto& [number, deadline_us] : clearing_) {
    if (now_.us <= deadline_us) continue;
    deadline_us = now_.us + options_.release_us;
    for (const auto& [name, worker] : workers_) {
      if (worker.job == number) StopWork(worker, JobId(number), "the job is over");
    }
  }
}

// First come, first served among the jobs that the joined workers could run at all: a job that
// wants more workers than there are does not hold up the ones behind it.
void State::StartQueued() {
  std::vector<int64_t> queued;
  for (const auto& [number, job] : open_) {
    if (job.phase == Phase::kQueued) queued.push_back(number);
  }
  bool held = false;
  for (int64_t number : queued) {
    Job& job = open_.at(number);
    std::vector<v1::WorkerInfo> ready;
    int64_t joined = 0;
    for (const auto& [name, worker] : workers_) {
      if (Ready(worker)) ready.push_back(worker.info);
      if (!worker.draining) ++joined;
    }
    const int64_t needed = WorkersNeeded(job.request);
    if (!held && static_cast<int64_t>(ready.size()) >= needed) {
      Start(job, ready);
    } else {
      held = held || joined >= needed;
      Tell(job, Shortage(job));
    }
  }
}

void State::Start(Job& job, const std::vector<v1::WorkerInfo>& ready) {
  absl::StatusOr<v1::Plan> plan = planner_(job.request, ready, job.row.id());
  if (plan.ok()) return Begin(job, *std::move(plan), ready);
  if (absl::IsUnavailable(plan.status())) {
    return Tell(job, absl::StrCat("waits for workers: ", plan.status().message()));
  }
  Abort(job, v1::JobStopped::IMPOSSIBLE, std::string(plan.status().message()));
}

void State::Begin(Job& job, v1::Plan plan, const std::vector<v1::WorkerInfo>& ready) {
  const auto stages = StagesByWorker(plan, ready);
  if (stages.empty()) {
    return Abort(job, v1::JobStopped::UNKNOWN,
                 "plan: expected ready workers, each once, got others (planner)");
  }
  job.plan = std::move(plan);
  job.phase = Phase::kPreparing;
  job.deadline_us = now_.us + options_.prepare_us;
  for (int party = 1; party < job.plan.parties_size(); ++party) {
    Worker& worker = workers_.at(job.plan.parties(party).name());
    worker.job = job.number;
    worker.stages = stages.at(worker.info.name());
    job.prepared[worker.info.name()] = false;
    job.row.add_workers(worker.info.name());
    v1::WorkerCommand command;
    *command.mutable_prepare()->mutable_plan() = job.plan;
    command.mutable_prepare()->set_party(party);
    command.mutable_prepare()->set_token(job.token);
    out_.push_back(SendToWorker{worker.stream, std::move(command)});
  }
  std::vector<std::string> idle;
  for (const v1::WorkerInfo& info : ready) {
    if (stages.count(info.name()) == 0) idle.push_back(info.name());
  }
  if (idle.empty()) return;
  Tell(job, absl::StrCat(stages.size(), " of ", ready.size(),
                         " ready workers run this job; idle: ", absl::StrJoin(idle, ", ")));
}

void State::RunWhenPrepared(Job& job) {
  const bool all = std::all_of(job.prepared.begin(), job.prepared.end(),
                               [](const auto& worker) { return worker.second; });
  if (!all) return;
  job.phase = Phase::kRunning;
  job.deadline_us = 0;
  job.row.set_status("running");
  Save(job);
  v1::ClientCommand command;
  *command.mutable_planned()->mutable_plan() = job.plan;
  command.mutable_planned()->set_token(job.token);
  out_.push_back(SendToClient{job.client, std::move(command)});
  Note(job.row.id(), absl::StrCat("runs on ", absl::StrJoin(job.row.workers(), ", ")));
}

void State::Tell(Job& job, const std::string& text) {
  if (job.told == text) return;
  job.told = text;
  v1::ClientCommand command;
  command.mutable_notice()->set_text(absl::StrCat(job.row.id(), ": ", text));
  out_.push_back(SendToClient{job.client, std::move(command)});
}

std::string State::Shortage(const Job& job) const {
  int64_t ready = 0;
  std::vector<std::string> busy;
  for (const auto& [name, worker] : workers_) {
    if (Ready(worker)) ++ready;
    if (worker.job != 0) busy.push_back(absl::StrCat(name, " with ", JobId(worker.job)));
  }
  const int64_t needed = WorkersNeeded(job.request);
  std::string text =
      absl::StrCat("queued: expected ", needed, job.request.stages() > 0 ? "" : " or more",
                   needed == 1 ? " ready worker, got " : " ready workers, got ", ready);
  if (!busy.empty()) absl::StrAppend(&text, " (busy: ", absl::StrJoin(busy, ", "), ")");
  return text;
}

State::Job* State::JobOfClient(StreamId stream) {
  for (auto& [number, job] : open_) {
    if (job.client == stream) return &job;
  }
  return nullptr;
}

State::Job* State::OpenJob(int64_t number) {
  const auto it = open_.find(number);
  return it == open_.end() ? nullptr : &it->second;
}

}  // namespace isthmus
