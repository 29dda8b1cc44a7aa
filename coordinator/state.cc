#include "coordinator/state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "coordinator/job_id.h"

namespace isthmus {

std::vector<v1::JobRow> State::Restore(std::vector<v1::JobRow> rows, int64_t next_job, Moment now) {
  next_job_ = next_job;
  std::vector<v1::JobRow> failed;
  for (v1::JobRow& row : rows) {
    if (row.status() == "queued" || row.status() == "running") {
      row.set_status("failed");
      row.set_message("the coordinator stopped while the job was open");
      row.set_ended_unix_us(now.unix_us);
      failed.push_back(row);
    }
    ended_.push_back(std::move(row));
  }
  return failed;
}

Commands State::Handle(const Event& event, Moment now) {
  now_ = now;
  out_.clear();
  struct Visitor {
    State* state;
    void operator()(const WorkerSaid& e) { state->OnWorkerSaid(e); }
    void operator()(const WorkerStreamEnded& e) { state->OnWorkerStreamEnded(e); }
    void operator()(const ClientSaid& e) { state->OnClientSaid(e); }
    void operator()(const ClientStreamEnded& e) { state->OnClientStreamEnded(e); }
    void operator()(const StopAsked& e) { state->OnStopAsked(e); }
    void operator()(const Tick&) {}
    void operator()(const DrainRequested&) { state->OnDrainRequested(); }
  };
  std::visit(Visitor{this}, event);
  LoseSilentWorkers();
  CheckDeadlines();
  StopLeftovers();
  StartQueued();
  return std::exchange(out_, {});
}

std::vector<v1::WorkerRow> State::Workers(Moment now) const {
  std::vector<v1::WorkerRow> rows;
  for (const auto& [name, worker] : workers_) {
    v1::WorkerRow& row = rows.emplace_back();
    *row.mutable_info() = worker.info;
    row.set_state(worker.draining ? "draining" : worker.job != 0 ? "busy" : "ready");
    if (worker.job != 0) row.set_job_id(JobId(worker.job));
    for (uint32_t stage : worker.stages) row.add_stages(stage);
    row.set_memory_bytes(worker.heartbeat.memory_bytes());
    row.set_store_bytes(worker.heartbeat.store_bytes());
    row.set_last_heartbeat_age_us(std::max<int64_t>(0, now.us - worker.heard_us));
  }
  return rows;
}

std::vector<v1::JobRow> State::Jobs() const {
  std::vector<v1::JobRow> rows = ended_;
  for (const auto& [number, job] : open_) rows.push_back(job.row);
  std::stable_sort(rows.begin(), rows.end(), [](const v1::JobRow& a, const v1::JobRow& b) {
    return JobNumber(a.id()) < JobNumber(b.id());
  });
  return rows;
}

std::string State::WireMismatch(uint32_t theirs, const std::string& who) const {
  if (theirs == options_.wire_version) return "";
  return absl::StrCat("wire version: expected ", options_.wire_version, " (coordinator ",
                      options_.version, "), got ", theirs, " (", who, ")");
}

void State::StopWork(const Worker& worker, const std::string& job_id, const std::string& reason) {
  if (worker.stream == 0) return;
  v1::WorkerCommand command;
  command.mutable_stop()->set_job_id(job_id);
  command.mutable_stop()->set_reason(reason);
  out_.push_back(SendToWorker{worker.stream, std::move(command)});
}

void State::Save(Job& job) {
  job.saved_us = now_.us;
  out_.push_back(SaveJob{job.row});
}

void State::Note(const std::string& job_id, std::string text) {
  out_.push_back(SaveEvent{job_id, std::move(text)});
}

}  // namespace isthmus
