#include "client/training_run.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/status.h"
#include "client/learning_rate.h"
#include "client/progress.h"
#include "client/stop_reason.h"
#include "compression/codec.h"
#include "metrics/metrics.h"
#include "model/safetensors.h"
#include "nlohmann/json.hpp"
#include "pipeline/plan.h"

namespace isthmus {
namespace {

using Totals = std::vector<ClientSession::EdgeTotal>;

// a + b, row by row.
Totals Sum(Totals a, const Totals& b) {
  for (const auto& row : b) {
    const auto it = std::find_if(a.begin(), a.end(), [&](const auto& other) {
      return std::tie(other.edge, other.direction, other.traffic) ==
             std::tie(row.edge, row.direction, row.traffic);
    });
    if (it == a.end()) {
      a.push_back(row);
    } else {
      it->use.Add(row.use);
    }
  }
  std::sort(a.begin(), a.end(), [](const auto& x, const auto& y) {
    return std::tie(x.edge, x.direction, x.traffic) < std::tie(y.edge, y.direction, y.traffic);
  });
  return a;
}

// Bytes and elements of training traffic in one direction over all edges.
std::pair<int64_t, int64_t> TrainingSum(const Totals& totals, Direction direction) {
  int64_t bytes = 0, elements = 0;
  for (const auto& row : totals) {
    if (row.direction != direction || row.traffic != Traffic::kTraining) continue;
    bytes += row.use.wire_bytes();
    elements += row.use.elements;
  }
  return {bytes, elements};
}

std::string CanonicalCodec(const std::string& spec) {
  const auto codec = Codec::Parse(spec);
  return codec.ok() ? (*codec)->canonical() : spec;
}

std::vector<WireRow> RowsOf(const v1::Plan& plan, const Totals& totals, bool evaluation) {
  std::vector<WireRow> rows;
  for (const auto& total : totals) {
    if ((total.traffic != Traffic::kTraining) != evaluation ||
        total.traffic == Traffic::kGeneration)
      continue;
    WireRow row;
    row.edge = total.edge;
    row.direction = total.direction;
    // The row behind the last edge is the tied tensor's gradient, which travels as it is.
    const bool identity = total.traffic == Traffic::kUncompressedEvaluation ||
                          total.edge >= static_cast<uint32_t>(plan.edges_size());
    if (identity) {
      row.codec = "none";
    } else {
      const v1::EdgeSpec& edge = plan.edges(static_cast<int>(total.edge));
      row.codec =
          total.direction == Direction::kForward ? edge.codec_forward() : edge.codec_backward();
    }
    row.codec_full = CanonicalCodec(row.codec);
    row.elements = total.use.elements;
    row.payload_bytes = total.use.payload_bytes;
    row.side_bytes = total.use.side_bytes;
    row.header_bytes = total.use.header_bytes;
    row.key_frames = total.use.key_frames;
    row.resends = total.use.resends;
    row.resend_bytes = total.use.resend_bytes;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<int64_t> AllOf(size_t n) {
  std::vector<int64_t> indices(n);
  for (size_t i = 0; i < n; ++i) indices[i] = static_cast<int64_t>(i);
  return indices;
}

// What an earlier run of codec: auto changed; rows of another form are passed over.
std::vector<AdaptiveQuality::Change> QualityChangesIn(const nlohmann::json& extra) {
  std::vector<AdaptiveQuality::Change> changes;
  const auto rows = extra.find("quality_changes");
  if (rows == extra.end() || !rows->is_array()) return changes;
  for (const auto& row : *rows) {
    if (row.is_array() && row.size() == 3 && row[0].is_number_integer() && row[1].is_number() &&
        row[2].is_number())
      changes.push_back({row[0].get<int64_t>(), row[1].get<double>(), row[2].get<double>()});
  }
  return changes;
}

}  // namespace

bool TrainingRun::StopAsked() {
  if (context_.signal != nullptr && context_.signal->load() != 0) return true;
  MutexLock lock(&outside_.mutex);
  return outside_.stopped_by_user;
}

bool TrainingRun::BudgetUsed(int64_t step) {
  if (context_.max_bytes <= 0) return false;
  const int64_t used = session_->traffic_bytes();
  const int64_t last_step = used - traffic_before_;
  traffic_before_ = used;
  if (used + last_step <= context_.max_bytes) return false;
  Note(absl::StrCat("stops before step ", step, ": ", used, " bytes of --max-bytes=",
                    context_.max_bytes, " are used and a step takes ", last_step));
  return true;
}

absl::Status TrainingRun::Train() {
  ISTHMUS_RETURN_IF_ERROR(Begin());
  bool interrupted = false;
  for (int64_t step = first_step_; step <= facts_.total_steps; ++step) {
    if ((interrupted = StopAsked() || BudgetUsed(step))) break;
    ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Window> windows, WindowsOf(step));
    if (windows.empty()) {
      Note(absl::StrCat("the data end before step ", step));
      break;
    }
    ISTHMUS_RETURN_IF_ERROR(Step(step, windows));
    last_step_done_ = step;
    const bool last = step == facts_.total_steps;
    if (job_.data.eval_every_steps > 0 && step % job_.data.eval_every_steps == 0 && !last) {
      ISTHMUS_ASSIGN_OR_RETURN(const bool go_on, EvaluateNow(step));
      if (!go_on) break;
    }
    if (job_.checkpoint.every_steps > 0 && step % job_.checkpoint.every_steps == 0 && !last)
      ISTHMUS_RETURN_IF_ERROR(WriteCheckpoint(step, false));
  }
  if (context_.progress != nullptr) context_.progress->Finish();
  if (last_step_done_ > 0) ISTHMUS_RETURN_IF_ERROR(WriteCheckpoint(last_step_done_, false));
  if (interrupted) return Finish(Report::Outcome::kInterrupted);
  if (!eval_windows_.empty()) {
    ISTHMUS_ASSIGN_OR_RETURN(report_.loss.eval_after, Evaluate(last_step_done_, false));
    ISTHMUS_RETURN_IF_ERROR(output_->AppendEval(last_step_done_, *report_.loss.eval_after));
    const bool identity = codec_.forward == "none";
    if (identity) {
      report_.loss.eval_after_uncompressed_cut = report_.loss.eval_after;
    } else {
      ISTHMUS_ASSIGN_OR_RETURN(report_.loss.eval_after_uncompressed_cut,
                               Evaluate(last_step_done_, true));
    }
  }
  return Finish(Report::Outcome::kCompleted);
}

absl::Status TrainingRun::Begin() {
  // What the parties hold from here on need not stay in memory or mapped.
  if (checkpoint_.has_value()) return ResumeFrom(*std::exchange(checkpoint_, std::nullopt));
  if (const auto adapter = std::exchange(start_adapter_, std::nullopt); adapter.has_value())
    ISTHMUS_RETURN_IF_ERROR(session_->SetState(adapter->tensors, {}));
  if (!eval_windows_.empty()) {
    ISTHMUS_ASSIGN_OR_RETURN(report_.loss.eval_before, Evaluate(0, false));
    ISTHMUS_RETURN_IF_ERROR(output_->AppendEval(0, *report_.loss.eval_before));
  }
  return absl::OkStatus();
}

absl::Status TrainingRun::ResumeFrom(const Checkpoint& checkpoint) {
  ISTHMUS_RETURN_IF_ERROR(session_->SetState(checkpoint.trained, checkpoint.optimizer));
  ISTHMUS_RETURN_IF_ERROR(ReadExtra(checkpoint.extra_json, checkpoint.step));
  std::string reason;
  const bool embedded = cluster_ != nullptr;
  ISTHMUS_ASSIGN_OR_RETURN(const bool whole,
                           session_->RestoreCodecs(
                               static_cast<uint64_t>(checkpoint.step), checkpoint.codec_hashes,
                               [&](uint32_t party) -> absl::StatusOr<std::string> {
                                 if (!embedded && party != kClientParty) return std::string();
                                 return CodecDirectory(checkpoint, party);
                               },
                               &reason));
  if (!whole)
    Note(absl::StrCat("warning: codec state is not there any more (", reason,
                      "): starts from key frames, losses will differ in the last bits"));
  report_.resumed_from_step = checkpoint.step;
  first_step_ = checkpoint.step + 1;
  last_step_done_ = checkpoint.step;
  return absl::OkStatus();
}

// A caller's data may fail at any step: what was learned before is kept.
absl::StatusOr<std::vector<Window>> TrainingRun::WindowsOf(int64_t step) {
  absl::StatusOr<std::vector<Window>> windows = data_->Step(step);
  if (!windows.ok() && last_step_done_ > 0)
    ISTHMUS_RETURN_IF_ERROR(WriteCheckpoint(last_step_done_, false));
  return windows;
}

absl::Status TrainingRun::Step(int64_t step, const std::vector<Window>& windows) {
  WindowBatches batches(windows, AllOf(windows.size()), job_.train.micro_batch_size);
  const double lr = LearningRate(job_.train, step, facts_.total_steps);
  const double loss_scale = 1.0 / static_cast<double>(std::max<int64_t>(1, batches.predicted()));
  const int64_t start_us = NowUs();
  const auto number = static_cast<uint64_t>(step);
  const uint32_t parts = batches.micro_batches();
  ISTHMUS_ASSIGN_OR_RETURN(
      const StepResult result,
      job_.train.estimator == Estimator::kSpsa
          ? session_->ProbeStep(number, parts, job_.train.spsa.eps, lr, &batches)
          : session_->TrainStep(number, parts, loss_scale, lr, &batches));
  const double seconds = static_cast<double>(NowUs() - start_us) * 1e-6;
  ISTHMUS_RETURN_IF_ERROR(Record(step, lr, result, batches, seconds));
  return AdaptQuality(result, batches.micro_batches(), seconds);
}

// codec: auto: the next step's quality by what this one waited for.
absl::Status TrainingRun::AdaptQuality(const StepResult& result, uint32_t micro_batches,
                                       double seconds) {
  if (!quality_.has_value()) return absl::OkStatus();
  std::map<uint32_t, double> busy_s = result.worker_busy_s;
  busy_s[kClientParty] = result.times.compute_s + result.times.encode_s + result.times.decode_s;
  ISTHMUS_ASSIGN_OR_RETURN(const double computing_s,
                           ComputingTime(session_->plan(), micro_batches, busy_s));
  if (quality_->Observe(seconds, computing_s))
    session_->set_quality_offset_db(quality_->offset_db());
  Metrics::Global().Get(kCodecQualityDb, {session_->plan().job_id()}).Set(quality_->offset_db());
  return absl::OkStatus();
}

absl::Status TrainingRun::Record(int64_t step, double lr, const StepResult& result,
                                 const WindowBatches& batches, double seconds) {
  const Totals totals = session_->totals();
  const auto [forward, forward_elements] = TrainingSum(totals, Direction::kForward);
  const auto [backward, backward_elements] = TrainingSum(totals, Direction::kBackward);
  const auto [forward_before, forward_elements_before] =
      TrainingSum(last_totals_, Direction::kForward);
  const auto [backward_before, backward_elements_before] =
      TrainingSum(last_totals_, Direction::kBackward);
  last_totals_ = totals;

  StepRecord record;
  record.step = step;
  record.loss = result.loss_sum / static_cast<double>(std::max<int64_t>(1, result.predicted));
  record.lr = lr;
  record.grad_norm = result.grad_norm;
  record.clipped = result.clipped;
  record.tokens = batches.tokens();
  record.tokens_per_s = static_cast<double>(record.tokens) / std::max(seconds, 1e-9);
  record.wire_bytes = forward + backward - forward_before - backward_before;
  record.bits_per_element_forward =
      BitsPerElement(forward - forward_before, forward_elements - forward_elements_before);
  record.bits_per_element_backward =
      BitsPerElement(backward - backward_before, backward_elements - backward_elements_before);
  ISTHMUS_RETURN_IF_ERROR(output_->AppendStep(record));

  if (!report_.loss.train_first.has_value()) report_.loss.train_first = record.loss;
  report_.loss.train_last = record.loss;
  report_.tokens += record.tokens;
  report_.time.wall_s += seconds;
  report_.time.compute_s += result.times.compute_s;
  report_.time.encode_s += result.times.encode_s;
  report_.time.decode_s += result.times.decode_s;
  report_.time.wait_s += result.times.wait_s;

  v1::Progress progress;
  progress.set_step(step);
  progress.set_loss(record.loss);
  progress.set_tokens_per_s(record.tokens_per_s);
  progress.set_wire_bytes(record.wire_bytes);
  control_->ReportProgress(progress);
  const Progress::Step shown = {
      step,
      facts_.total_steps,
      record.loss,
      record.tokens_per_s,
      record.bits_per_element_forward,
      record.bits_per_element_backward,
      static_cast<double>(record.wire_bytes) * 1e-6 / std::max(seconds, 1e-9),
      quality_ ? std::optional(quality_->offset_db()) : std::nullopt};
  if (context_.progress != nullptr) context_.progress->Show(shown);
  if (context_.on_step) context_.on_step(shown);
  return absl::OkStatus();
}

absl::StatusOr<double> TrainingRun::Evaluate(int64_t step, bool uncompressed) {
  WindowBatches batches(eval_windows_, AllOf(eval_windows_.size()), job_.train.micro_batch_size);
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<MicroBatchLoss> losses,
                           session_->Evaluate(static_cast<uint64_t>(step), batches.micro_batches(),
                                              uncompressed, &batches));
  double sum = 0.0;
  int64_t predicted = 0;
  for (const MicroBatchLoss& loss : losses) {
    sum += loss.loss_sum;
    predicted += loss.predicted;
  }
  return sum / static_cast<double>(std::max<int64_t>(1, predicted));
}

absl::StatusOr<bool> TrainingRun::EvaluateNow(int64_t step) {
  if (eval_windows_.empty()) return true;
  ISTHMUS_ASSIGN_OR_RETURN(const double loss, Evaluate(step, false));
  ISTHMUS_RETURN_IF_ERROR(output_->AppendEval(step, loss));
  if (!has_best_ || loss < best_eval_) {
    best_eval_ = loss;
    has_best_ = true;
    evals_without_better_ = 0;
    ISTHMUS_RETURN_IF_ERROR(WriteCheckpoint(step, true));
    return true;
  }
  ++evals_without_better_;
  if (job_.data.patience == 0 || evals_without_better_ < job_.data.patience) return true;
  Note(absl::StrCat("stops at step ", step, ": ", job_.data.patience,
                    " evaluations without a better loss"));
  return false;
}

absl::Status TrainingRun::WriteCheckpoint(int64_t step, bool best) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  ISTHMUS_ASSIGN_OR_RETURN(
      const std::unique_ptr<CheckpointWriter> writer,
      best ? output_->checkpoints()->BeginBest() : output_->checkpoints()->Begin(step));
  const bool embedded = cluster_ != nullptr;
  ISTHMUS_ASSIGN_OR_RETURN(checkpoint.codec_hashes,
                           session_->SaveCodecs(static_cast<uint64_t>(step),
                                                [&](uint32_t party) -> absl::StatusOr<std::string> {
                                                  if (!embedded && party != kClientParty)
                                                    return std::string();
                                                  return writer->CodecDirectory(party);
                                                }));
  checkpoint.extra_json = ExtraJson();
  ISTHMUS_RETURN_IF_ERROR(output_->Sync());
  ISTHMUS_ASSIGN_OR_RETURN(const ClientSession::State state, session_->OpenState(true));
  ISTHMUS_RETURN_IF_ERROR(writer->Commit(checkpoint, state.trained, state.optimizer));
  return best ? absl::OkStatus()
              : output_->checkpoints()->Prune(std::max<int64_t>(1, job_.checkpoint.keep));
}

// What a resumed run goes on adding to.
std::string TrainingRun::ExtraJson() const {
  nlohmann::ordered_json extra;
  extra["train_first"] = report_.loss.train_first.value_or(0.0);
  if (report_.loss.eval_before.has_value()) extra["eval_before"] = *report_.loss.eval_before;
  extra["tokens"] = report_.tokens;
  extra["time"] = {report_.time.wall_s, report_.time.compute_s, report_.time.encode_s,
                   report_.time.decode_s, report_.time.wait_s};
  if (has_best_) extra["best_eval"] = best_eval_;
  extra["evals_without_better"] = evals_without_better_;
  if (quality_.has_value()) {
    extra["quality_offset_db"] = quality_->offset_db();
    extra["quality_changes"] = nlohmann::ordered_json::array();
    for (const AdaptiveQuality::Change& change : quality_->changes())
      extra["quality_changes"].push_back({change.step, change.offset_db, change.ratio});
  }
  extra["totals"] = nlohmann::ordered_json::array();
  for (const auto& row : Sum(earlier_totals_, session_->totals())) {
    const EdgeUse& u = row.use;
    extra["totals"].push_back({row.edge, static_cast<int>(row.direction),
                               static_cast<int>(row.traffic), u.elements, u.frames, u.payload_bytes,
                               u.side_bytes, u.header_bytes, u.key_frames, u.resends,
                               u.resend_bytes});
  }
  return extra.dump();
}

absl::Status TrainingRun::ReadExtra(const std::string& json, int64_t step) {
  const nlohmann::json extra = nlohmann::json::parse(json, nullptr, false);
  const auto number = [&extra](const char* key, double otherwise) {
    const auto it = extra.find(key);
    return it != extra.end() && it->is_number() ? it->get<double>() : otherwise;
  };
  if (!extra.is_object()) return DataLoss("checkpoint: expected its sums, got none");
  report_.loss.train_first = number("train_first", 0.0);
  if (extra.contains("eval_before")) report_.loss.eval_before = number("eval_before", 0.0);
  report_.tokens = static_cast<int64_t>(number("tokens", 0.0));
  if (extra.contains("best_eval")) {
    has_best_ = true;
    best_eval_ = number("best_eval", 0.0);
  }
  evals_without_better_ = static_cast<int64_t>(number("evals_without_better", 0.0));
  // The earlier run settled which codec; that it adapts, only this key says.
  if (codec_left_open_ && extra.contains("quality_offset_db")) {
    quality_.emplace(number("quality_offset_db", 0.0), step, QualityChangesIn(extra));
    session_->set_quality_offset_db(quality_->offset_db());
  }
  double* const times[] = {&report_.time.wall_s, &report_.time.compute_s, &report_.time.encode_s,
                           &report_.time.decode_s, &report_.time.wait_s};
  if (const auto it = extra.find("time"); it != extra.end() && it->is_array() && it->size() == 5)
    for (size_t i = 0; i < 5; ++i)
      if ((*it)[i].is_number()) *times[i] = (*it)[i].get<double>();
  if (const auto it = extra.find("totals"); it != extra.end() && it->is_array()) {
    for (const auto& row : *it) {
      if (!row.is_array() || row.size() != 11) continue;
      std::vector<int64_t> v;
      for (const auto& cell : row) v.push_back(cell.is_number() ? cell.get<int64_t>() : 0);
      earlier_totals_.push_back(
          {static_cast<uint32_t>(v[0]),
           v[1] == 0 ? Direction::kForward : Direction::kBackward,
           static_cast<Traffic>(std::clamp<int64_t>(v[2], 0, kTrafficKinds - 1)),
           {v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10]}});
    }
  }
  return absl::OkStatus();
}

absl::Status TrainingRun::WriteResult() {
  ISTHMUS_ASSIGN_OR_RETURN(const ClientSession::State state, session_->OpenState(false));
  if (job_.train.method == TrainMethod::kLora)
    return WriteAdapter(output_->Path("adapter"), config_, TrainSpecOf(job_).lora, job_.model,
                        state.trained);
  // A whole model: with its configuration and tokenizer beside it the folder is a model directory.
  ISTHMUS_RETURN_IF_ERROR(WriteSafetensors(output_->Path("model.safetensors"),
                                           state.trained.headers, state.trained.load,
                                           {{"format", "pt"}}));
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json",
                           "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"}) {
    const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(job_.model, "/", name));
    if (text.ok()) ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(output_->Path(name), *text));
  }
  return absl::OkStatus();
}

absl::Status TrainingRun::Finish(Report::Outcome outcome) {
  if (outcome == Report::Outcome::kCompleted) ISTHMUS_RETURN_IF_ERROR(WriteResult());
  report_.outcome = outcome;
  FillReport();
  session_->Close()
      .IgnoreError();  // everything is gathered: a worker that is gone now takes nothing with it
  ISTHMUS_RETURN_IF_ERROR(output_->WriteReport(report_));
  control_->Finished(std::string(Name(outcome)), "");
  return absl::OkStatus();
}

void TrainingRun::FillReport() {
  report_.steps = last_step_done_;
  report_.time.total_s = static_cast<double>(NowUs() - start_us_) * 1e-6;
  report_.tokens_per_s =
      report_.time.wall_s > 0 ? static_cast<double>(report_.tokens) / report_.time.wall_s : 0.0;
  if (session_ == nullptr) return;
  report_.time.predicted_step_s = session_->plan().predicted_step_s();
  const Totals totals = Sum(earlier_totals_, session_->totals());
  report_.wire = RowsOf(session_->plan(), totals, false);
  report_.wire_eval = RowsOf(session_->plan(), totals, true);
  if (quality_.has_value()) {
    report_.quality.emplace();
    for (const AdaptiveQuality::Change& change : quality_->changes())
      report_.quality->push_back({change.step, change.offset_db, change.ratio});
  }
  report_.processes = {{"client", PeakResidentBytes()}};
  for (const auto& [party, bytes] : session_->peak_rss_by_party())
    report_.processes.push_back(
        {absl::StrCat("worker ", session_->plan().parties(static_cast<int>(party)).name()), bytes});
}

absl::Status TrainingRun::Fail(absl::Status status) {
  if (context_.progress != nullptr) context_.progress->Finish();
  // Why the coordinator ended the job says more than which frame did not come.
  const auto said = [this] {
    MutexLock lock(&outside_.mutex);
    return outside_.status;
  };
  if (session_ != nullptr) {
    status = StopReason(std::move(status), said);
  } else if (const absl::Status reason = said(); !reason.ok()) {
    status = reason;
  }
  // A dead child says most.
  if (cluster_ != nullptr && absl::IsUnavailable(status)) {
    if (const absl::Status child = cluster_->Check(); !child.ok()) status = child;
  }
  report_.outcome =
      absl::IsCancelled(status) ? Report::Outcome::kInterrupted : Report::Outcome::kFailed;
  FillReport();
  if (output_ != nullptr)
    output_->WriteReport(report_).IgnoreError();  // the failure itself is what the user must see
  if (control_ != nullptr)
    control_->Finished(std::string(Name(report_.outcome)), std::string(status.message()));
  return status;
}

namespace {

absl::StatusOr<Report> RunOnce(TrainingRun* run) {
  ISTHMUS_RETURN_IF_ERROR(run->Prepare());
  if (run->done()) return std::move(run->report());
  absl::Status status = run->Connect();
  if (status.ok()) status = run->Train();
  if (!status.ok()) return run->Fail(std::move(status));
  Report report = std::move(run->report());
  run->Close();
  return report;
}

}  // namespace

absl::StatusOr<Report> RunTraining(const Job& job, const TrainContext& context) {
  TrainContext now = context;
  int64_t last_step = 0, progress_us = NowUs();
  for (int64_t recoveries = 0;; ++recoveries) {
    TrainingRun run(job, now, recoveries);
    absl::StatusOr<Report> report = RunOnce(&run);
    if (run.steps_done() > last_step) {
      last_step = run.steps_done();
      progress_us = NowUs();
    }
    const double left_s = context.reconnect_s - static_cast<double>(NowUs() - progress_us) * 1e-6;
    if (report.ok() || !absl::IsUnavailable(report.status()) || left_s <= 0) return report;
    const std::string note =
        absl::StrCat(report.status().message(), ": goes on when the cluster is back");
    if (context.progress != nullptr) context.progress->Note(note);
    if (context.on_note) context.on_note(note);
    now.resume = true;
    now.overwrite = false;
    now.wait_s = left_s;
  }
}

}  // namespace isthmus
