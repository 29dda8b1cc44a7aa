// What comes before the first step: files, data, codec, cluster, plan, layers.
#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "client/model_order.h"
#include "client/progress.h"
#include "client/training_run.h"
#include "link/rate_probe.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

// Mbit/s of this host's link. 0 where nobody tells: a coordinator that is not up yet is waited for
// by Submit, and the plan only predicts worse.
double LinkRateTo(const std::string& coordinator, const TlsFiles& tls) {
  const absl::StatusOr<LinkRate> rate =
      MeasureLinkRate(coordinator, tls, /*wait_us=*/0, /*rounds=*/2);
  return rate.ok() ? rate->slower_mbps() : 0.0;
}

// "" for stores that nobody would notice.
std::string StoresLine(const Codec::StateSize& stores) {
  if (stores.ram_bytes + stores.file_bytes <= (int64_t{1} << 20)) return "";
  return absl::StrFormat("codec stores on this machine: %.1f MB in memory, %.1f MB in files",
                         1e-6 * static_cast<double>(stores.ram_bytes),
                         1e-6 * static_cast<double>(stores.file_bytes));
}

}  // namespace

TrainingRun::TrainingRun(const Job& job, const TrainContext& context, int64_t recoveries)
    : job_(job),
      context_(context),
      start_us_(NowUs()),
      threads_(context.threads > 0 ? context.threads : 1) {
  report_.isthmus_version = std::string(IsthmusVersion());
  report_.seed = job.train.seed;
  report_.recoveries = recoveries;
  const Job::Tls& tls = job.security.tls;
  tls_ = context.tls.enabled() ? context.tls : TlsFiles{tls.ca, tls.cert, tls.key};
}

TrainingRun::~TrainingRun() { Close(); }

void TrainingRun::Close() {
  {
    MutexLock lock(&outside_.mutex);
    outside_.session = nullptr;
  }
  session_.reset();
  control_.reset();
  cluster_.reset();
}

void TrainingRun::Note(const std::string& text) {
  if (context_.on_note) context_.on_note(text);
  if (context_.progress != nullptr) context_.progress->Note(text);
}

absl::Status TrainingRun::Prepare() {
  if (!context_.coordinator.empty() && job_.cluster.given)
    return InvalidArgument("cluster: expected no such key beside --coordinator, got one");
  if (!context_.coordinator.empty() && job_.link.given())
    return InvalidArgument(
        "link: expected no such key beside --coordinator (emulation is for the embedded cluster), "
        "got one");
  const OutputMode mode = context_.resume
                              ? OutputMode::kResume
                              : (context_.overwrite ? OutputMode::kOverwrite : OutputMode::kNew);
  ISTHMUS_RETURN_IF_ERROR(RunOutput::Check(job_.output, mode));
  ISTHMUS_RETURN_IF_ERROR(EdgeDump::Check(context_.dump));
  codec_left_open_ = !job_.codec.given();
  if (context_.resume) ISTHMUS_RETURN_IF_ERROR(TakeOverEarlierRun());
  ISTHMUS_RETURN_IF_ERROR(OpenModel());
  ISTHMUS_RETURN_IF_ERROR(CheckSplit());
  ISTHMUS_RETURN_IF_ERROR(ReadData());
  ISTHMUS_RETURN_IF_ERROR(ReadStartAdapter());
  if (context_.resume) {
    ISTHMUS_ASSIGN_OR_RETURN(std::optional<Report> earlier,
                             RunOutput::CompletedReport(job_.output));
    if (earlier.has_value()) {
      ISTHMUS_ASSIGN_OR_RETURN(done_, CompletedEarlier(*earlier));
      if (done_) report_ = *std::move(earlier);
      if (done_) return absl::OkStatus();
    }
  }
  const StorePlace place = StoresHere(job_, config_, context_.coordinator.empty());
  ISTHMUS_ASSIGN_OR_RETURN(codec_, ChooseCodec(job_, config_, facts_, place));
  ISTHMUS_ASSIGN_OR_RETURN(stores_, CheckStores(codec_, config_, facts_, place));
  if (codec_.adaptive) quality_.emplace();
  if (!codec_.why.empty()) Note(codec_.why);
  if (const std::string stores = StoresLine(stores_); !stores.empty()) Note(stores);
  // What was left open is settled now, so that a resumed run finds it.
  job_.codec.forward = codec_.forward;
  job_.codec.backward = codec_.backward;
  return absl::OkStatus();
}

absl::Status TrainingRun::TakeOverEarlierRun() {
  ISTHMUS_ASSIGN_OR_RETURN(const std::optional<std::string> json,
                           RunOutput::EarlierJob(job_.output));
  if (!json.has_value()) return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(const Job earlier, ParseJob(*json, job_.output));
  ISTHMUS_RETURN_IF_ERROR(CheckResumable(earlier, job_));
  // Without a checkpoint it starts at step 1, and no codec's state asks for the same one.
  if (!job_.codec.given() && RunOutput::HoldsCheckpoint(job_.output)) job_.codec = earlier.codec;
  if (job_.data.sequence_length == 0) job_.data.sequence_length = earlier.data.sequence_length;
  if (job_.train.lora.targets.empty()) job_.train.lora.targets = earlier.train.lora.targets;
  return absl::OkStatus();
}

// Whether a completed run did all that is asked for now: data.patience may have ended it before its
// last step, and would again.
absl::StatusOr<bool> TrainingRun::CompletedEarlier(const Report& earlier) const {
  if (earlier.steps >= facts_.total_steps) return true;
  ISTHMUS_ASSIGN_OR_RETURN(const Job job, ParseJob(earlier.job_json, job_.output));
  return job_.data.patience > 0 && TotalSteps(job.train) >= facts_.total_steps;
}

int64_t TrainingRun::TotalSteps(const Job::Train& train) const {
  return train.steps.has_value() ? *train.steps : *train.epochs * data_->steps_per_epoch();
}

absl::Status TrainingRun::OpenModel() {
  ISTHMUS_ASSIGN_OR_RETURN(model_,
                           context_.engine->OpenModel(job_.model, job_.init == Init::kPretrained));
  config_ = model_->config();
  if (job_.train.method == TrainMethod::kFull && !model_->packed_format().empty())
    return InvalidArgument("train.method: expected lora on a packed model, got full (", job_.model,
                           ")");
  if (job_.init == Init::kRandom) random_ = RandomWeights(config_, job_.train.seed);
  if (job_.train.method == TrainMethod::kLora && job_.train.lora.targets.empty())
    job_.train.lora.targets = DefaultLoraTargets(config_);
  if (job_.data.sequence_length == 0) job_.data.sequence_length = config_.max_positions;
  if (job_.data.sequence_length > config_.max_positions)
    return InvalidArgument("data.sequence_length: expected at most the model's context of ",
                           config_.max_positions, ", got ", job_.data.sequence_length);
  return absl::OkStatus();
}

absl::Status TrainingRun::CheckSplit() const {
  const int64_t head = job_.split.head_layers, tail = job_.split.tail_layers;
  const int64_t wanted = std::max<int64_t>(1, job_.pipeline.stages);
  if (head + tail + wanted > config_.num_layers)
    return InvalidArgument("split.head_layers: expected head_layers + tail_layers to leave ",
                           wanted, " of the model's ", config_.num_layers,
                           " layers to the servers, got ", head, " + ", tail);
  if (context_.coordinator.empty() && job_.pipeline.stages > job_.cluster.workers)
    return InvalidArgument("pipeline.stages: expected at most cluster.workers = ",
                           job_.cluster.workers, ", got ", job_.pipeline.stages);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Window>> TrainingRun::ReadWindows(const std::string& path,
                                                             const Tokenizer* tokenizer) const {
  DatasetOptions options;
  options.sequence_length = job_.data.sequence_length;
  options.pack = job_.data.pack;
  options.append_eos = job_.data.append_eos;
  options.vocab_size = config_.vocab_size;
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Document> documents,
                           ReadDocuments(path, tokenizer, options));
  absl::StatusOr<std::vector<Window>> windows = CutWindows(documents, options);
  if (!windows.ok()) return Annotate(windows.status(), path);
  return windows;
}

absl::Status TrainingRun::CheckDataKeys() const {
  const bool own = context_.own_data != nullptr;
  if (own != job_.data.train.empty())
    return own ? InvalidArgument(
                     "data.train: expected no such key beside the caller's own data, got ",
                     job_.data.train)
               : InvalidArgument("data.train: expected a path, got nothing");
  if (own && !job_.train.steps.has_value())
    return InvalidArgument(
        "train.steps: expected a number with the caller's own data, whose epochs nobody knows, got "
        "none");
  return absl::OkStatus();
}

absl::Status TrainingRun::ReadData() {
  ISTHMUS_RETURN_IF_ERROR(CheckDataKeys());
  // A model without a tokenizer trains on token ids.
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Open(job_.model);
  if (!tokenizer.ok() && tokenizer.status().code() != absl::StatusCode::kNotFound)
    return tokenizer.status();
  const Tokenizer* words = tokenizer.ok() ? tokenizer->get() : nullptr;
  if (!job_.data.eval.empty()) {
    ISTHMUS_ASSIGN_OR_RETURN(eval_windows_, ReadWindows(job_.data.eval, words));
  }
  if (context_.own_data != nullptr) {
    ISTHMUS_RETURN_IF_ERROR(ReadOwnData());
  } else {
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<Window> windows, ReadWindows(job_.data.train, words));
    data_ = StepData::FromFile(std::move(windows), job_);
  }
  const int64_t per_epoch = data_->steps_per_epoch();
  facts_.num_windows = data_->num_samples();
  facts_.total_steps = TotalSteps(job_.train);
  // Of the caller's data we know at most how many samples there are.
  facts_.samples_repeat =
      per_epoch > 0 ? facts_.total_steps > per_epoch
                    : facts_.num_windows > 0 && facts_.total_steps * job_.train.micro_batch_size *
                                                        job_.train.micro_batches >
                                                    facts_.num_windows;
  facts_.max_window_tokens = data_->max_window_tokens();
  for (const Window& window : eval_windows_)
    facts_.max_window_tokens =
        std::max(facts_.max_window_tokens, static_cast<int64_t>(window.inputs.size()));
  return absl::OkStatus();
}

absl::Status TrainingRun::ReadOwnData() {
  data_ = StepData::FromCaller(context_.own_data, job_.data.sequence_length, config_.vocab_size);
  ISTHMUS_ASSIGN_OR_RETURN(std::vector<Window> windows, context_.own_data->Evaluation());
  if (windows.empty()) return absl::OkStatus();
  if (!eval_windows_.empty())
    return InvalidArgument(
        "data.eval: expected no such key beside the caller's own evaluation data, got ",
        job_.data.eval);
  ISTHMUS_RETURN_IF_ERROR(
      CheckOwnWindows(job_.data.sequence_length, config_.vocab_size, "evaluation data", &windows));
  eval_windows_ = std::move(windows);
  return absl::OkStatus();
}

absl::Status TrainingRun::ReadStartAdapter() {
  if (job_.train.method != TrainMethod::kLora || job_.train.lora.init_from.empty())
    return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(start_adapter_, ReadAdapter(job_.train.lora.init_from, config_));
  if (start_adapter_->lora.rank != job_.train.lora.rank)
    return InvalidArgument("train.lora.rank: expected ", start_adapter_->lora.rank,
                           ", the rank of init_from, got ", job_.train.lora.rank);
  return absl::OkStatus();
}

std::string TrainingRun::ResolvedJobJson() const { return ToJson(job_).dump(); }

absl::Status TrainingRun::Connect() {
  const OutputMode mode = context_.resume
                              ? OutputMode::kResume
                              : (context_.overwrite ? OutputMode::kOverwrite : OutputMode::kNew);
  report_.job_json = ResolvedJobJson();
  ISTHMUS_ASSIGN_OR_RETURN(output_, RunOutput::Open(job_.output, mode, report_.job_json));
  if (context_.resume) {
    std::vector<std::string> warnings;
    ISTHMUS_ASSIGN_OR_RETURN(checkpoint_, output_->checkpoints()->Newest(&warnings));
    for (const std::string& warning : warnings) Note(warning);
    ISTHMUS_RETURN_IF_ERROR(output_->ResumeAt(checkpoint_.has_value() ? checkpoint_->step : 0));
    Note(checkpoint_.has_value() ? absl::StrCat("goes on from step ", checkpoint_->step)
                                 : "no checkpoint yet: starts at step 1");
  }
  ISTHMUS_RETURN_IF_ERROR(EdgeDump::Prepare(context_.dump));
  if (context_.coordinator.empty()) ISTHMUS_RETURN_IF_ERROR(StartCluster());
  ISTHMUS_RETURN_IF_ERROR(SubmitJob());
  return OpenSession();
}

absl::Status TrainingRun::StartCluster() {
  ClusterOptions options;
  options.workers = EmbeddedStages(job_, config_);
  options.threads = threads_;
  options.device = context_.device;
  options.engine =
      context_.worker_engine.empty() ? EngineWord(*context_.engine) : context_.worker_engine;
  options.model_root = job_.model;
  // Codec state goes to the checkpoints: only store files need a place.
  if (stores_.file_bytes > 0) options.state_dir = output_->Path("state");
  options.link_rate_mbps = job_.link.rate_mbps;
  options.link_delay_ms = job_.link.delay_ms;
  options.dump_dir = context_.dump.directory;
  options.dump_steps = context_.dump.steps;
  options.log_path = [this](const std::string& process) { return output_->LogPath(process); };
  ISTHMUS_ASSIGN_OR_RETURN(cluster_, EmbeddedCluster::Start(options));
  return absl::OkStatus();
}

absl::Status TrainingRun::SubmitJob() {
  const bool embedded = cluster_ != nullptr;
  const std::string coordinator = embedded ? cluster_->coordinator() : context_.coordinator;
  const TlsFiles tls = embedded ? TlsFiles{} : tls_;
  ISTHMUS_RETURN_IF_ERROR(
      CheckAddressSecurity(coordinator, tls, context_.insecure, "--coordinator"));
  // Measured on one window's tokens, what a stage computes at a time is some of these, and on as
  // many threads as it will have.
  TrainSpec spec = TrainSpecOf(job_);
  spec.threads = threads_;
  const ClientSpeed speed = MeasureClient(context_.engine, config_, spec,
                                          std::min<int64_t>(facts_.max_window_tokens, 256));
  ISTHMUS_ASSIGN_OR_RETURN(
      const v1::PlanRequest request,
      MakePlanRequest(job_, config_, model_.get(), facts_, codec_,
                      {speed, context_.wait_s, embedded, threads_,
                       embedded || job_.link.given() ? 0.0 : LinkRateTo(coordinator, tls)}));
  JobControl::Callbacks callbacks;
  callbacks.notice = [this](const std::string& text) { Note(text); };
  callbacks.cancelled = [this] { return StopAsked(); };
  callbacks.stopped = [this](const v1::JobStopped& stopped) {
    MutexLock lock(&outside_.mutex);
    const bool by_user = stopped.cause() == v1::JobStopped::STOPPED_BY_USER;
    // Asked for the first time the step ends and a checkpoint is written.
    if ((by_user || stopped.cause() == v1::JobStopped::DRAINING) &&
        !std::exchange(outside_.stopped_by_user, true))
      return;
    outside_.status =
        by_user ? absl::CancelledError(absl::StrCat(
                      "train: expected all steps, got a second stop (", stopped.message(), ")"))
                : Unavailable(stopped.message());
    if (outside_.session != nullptr) outside_.session->Abort(outside_.status);
  };
  ISTHMUS_ASSIGN_OR_RETURN(control_,
                           JobControl::Submit(coordinator, tls, request, std::move(callbacks)));
  return absl::OkStatus();
}

absl::Status TrainingRun::OpenSession() {
  ClientSessionOptions options;
  options.engine = context_.engine;
  options.threads = threads_;
  options.device = context_.device;
  options.edge = EdgeSpecOf(job_, facts_, control_->plan());
  options.state_dir = output_->Path("state");
  options.dump = context_.dump;
  if (cluster_ == nullptr) options.grpc.tls = tls_;
  if (job_.link.given())
    options.grpc.shaper = std::make_shared<Shaper>(job_.link.rate_mbps,
                                                   static_cast<int64_t>(job_.link.delay_ms * 1000));
  WeightSource* weights =
      random_ != nullptr ? random_.get() : static_cast<WeightSource*>(model_.get());
  ISTHMUS_ASSIGN_OR_RETURN(session_, ClientSession::Make(control_->plan(), config_, weights));
  {
    MutexLock lock(&outside_.mutex);
    ISTHMUS_RETURN_IF_ERROR(outside_.status);
    outside_.session = session_.get();
  }
  ISTHMUS_RETURN_IF_ERROR(session_->Start(control_->token(), options));
  if (job_.edge.memory_limit_bytes > 0) Note(session_->memory_plan().text);
  return absl::OkStatus();
}

}  // namespace isthmus
