#include "worker/session.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "base/status.h"
#include "compression/store_folder.h"
#include "model/config.h"
#include "pipeline/state_transfer.h"

namespace isthmus {
namespace {

// Evaluation numbers its micro-batches from 0 to the number of windows.
constexpr uint32_t kMaxMicroBatches = 1u << 24;
constexpr double kMaxQualityOffsetDb = 60.0;
// A resumed run sends a frame for each of an adapter's tensors and its moments: 24 000 for LoRA on
// every linear map of 80 layers held by one worker. Their bytes have a bound of their own.
constexpr int64_t kMaxControlFrames = 1 << 16;

Inbox::Bounds BoundsOf(const v1::Plan& plan) {
  Inbox::Bounds bounds;
  bounds.edges = static_cast<uint32_t>(plan.edges_size());
  bounds.micro_batches = kMaxMicroBatches;
  bounds.control_frames = kMaxControlFrames;
  return bounds;
}

void AddSquare(const StageGroup::NamedSquare& square, v1::NamedSquare* row) {
  row->set_name(square.name);
  row->set_sum_of_squares(square.sum_of_squares);
}

absl::Status CheckSet(const std::vector<TensorHeader>& wanted, const std::set<std::string>& set) {
  for (const TensorHeader& header : wanted)
    if (!set.contains(header.name))
      return NotFound(header.name, ": expected a tensor, got none (trained state)");
  return absl::OkStatus();
}

}  // namespace

Session::Session(v1::Plan plan, uint32_t party, std::string token, SessionOptions options,
                 Ended ended)
    : plan_(std::move(plan)),
      party_(party),
      token_(std::move(token)),
      options_(std::move(options)),
      ended_(std::move(ended)),
      inbox_(BoundsOf(plan_)),
      links_(&inbox_),
      metrics_("worker", plan_.job_id(), StagesOfParty(plan_, party).front()),
      incoming_(std::make_unique<TensorAssembly>(int64_t{1} << 40)) {}

Session::~Session() {
  Stop(absl::CancelledError("the worker stops"));
  thread_.Join();
}

void Session::Start() {
  thread_ = Thread("stage", [this] {
    const absl::Status status = Run();
    if (!status.ok()) TellFailure(status);
    links_.CloseAll(status.ok() ? 2'000'000 : 500'000);
    runner_.reset();
    group_.reset();
    weights_.reset();
    ReturnFreeMemory();
    over_ = true;
    ended_(plan_.job_id(), status);
  });
}

absl::Status Session::AddLink(uint32_t from_party, std::unique_ptr<Link> link) {
  return links_.Add(from_party, std::move(link));
}

void Session::Stop(absl::Status reason) { inbox_.Fail(std::move(reason)); }

void Session::TellFailure(const absl::Status& status) {
  LogWarning("worker", "job ", plan_.job_id(), " ended: ", status.message());
  v1::Packet packet;
  packet.mutable_failure()->set_code(static_cast<int>(status.code()));
  packet.mutable_failure()->set_message(std::string(status.message()));
  Tell(packet).IgnoreError();  // when the client is gone there is nobody to tell
}

absl::Status Session::Run() {
  ISTHMUS_RETURN_IF_ERROR(links_.Await(kClientParty, NowUs() + options_.link_wait_us));
  ISTHMUS_RETURN_IF_ERROR(DialNextWorkers());
  ISTHMUS_RETURN_IF_ERROR(LoadStages());
  for (const uint32_t peer : PeersOnEdges(plan_, party_))
    ISTHMUS_RETURN_IF_ERROR(links_.Await(peer, NowUs() + options_.link_wait_us));
  v1::Packet ready;
  ready.mutable_ready()->set_parameter_bytes(group_->parameter_bytes());
  ready.mutable_ready()->set_trained_bytes(group_->trained_bytes());
  ISTHMUS_RETURN_IF_ERROR(Tell(ready));
  return Obey();
}

// Of two workers the one with the earlier stage dials.
absl::Status Session::DialNextWorkers() {
  for (const uint32_t stage : StagesOfParty(plan_, party_)) {
    if (stage + 1 >= static_cast<uint32_t>(plan_.stages_size())) continue;
    const uint32_t peer = plan_.stages(static_cast<int>(stage) + 1).party();
    if (peer == kClientParty) continue;
    const LinkIdentity identity{plan_.job_id(), token_, plan_.generation(), party_, peer};
    const std::string& address = plan_.parties(static_cast<int>(peer)).address();
    ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<Link> link,
                             DialLink(address, identity, options_.grpc));
    ISTHMUS_RETURN_IF_ERROR(links_.Add(peer, std::move(link)));
  }
  return absl::OkStatus();
}

absl::Status Session::LoadStages() {
  ISTHMUS_ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(plan_.model().config_json()));
  ISTHMUS_ASSIGN_OR_RETURN(
      weights_, OpenWeights(plan_.model(), config, options_.weights, options_.engine,
                            [this](const std::string& name) { return FetchTensor(name); }));
  TrainSpec train = TrainSpecFromProto(plan_.train());
  train.threads = options_.threads;
  train.device = options_.device;
  const bool shared = plan_.shared_embedding() && LossParty(plan_) == party_;
  ISTHMUS_ASSIGN_OR_RETURN(group_,
                           options_.engine->MakeStages(config, train, RangesOfParty(plan_, party_),
                                                       weights_.get(), shared));
  ISTHMUS_ASSIGN_OR_RETURN(runner_, StageRunner::Make(plan_, party_, group_.get(), &inbox_, &links_,
                                                      StoreFolder(options_.state_dir)));
  if (!options_.dump.directory.empty())
    runner_->set_edge_dump(std::make_unique<EdgeDump>(options_.dump));
  runner_->set_control_handler([this](Received received) -> absl::Status {
    ISTHMUS_ASSIGN_OR_RETURN(v1::Packet packet, ParsePacket(received.frame));
    if (packet.has_failure()) return FailureStatus(packet.failure(), "client");
    if (deferred_.size() > 1024)
      return ResourceExhausted("control: expected at most 1024 messages during a pass");
    deferred_.push_back(std::move(packet));
    return absl::OkStatus();
  });
  return absl::OkStatus();
}

absl::StatusOr<v1::Packet> Session::NextPacket() {
  if (!deferred_.empty()) {
    v1::Packet packet = std::move(deferred_.front());
    deferred_.erase(deferred_.begin());
    return packet;
  }
  for (;;) {
    ISTHMUS_ASSIGN_OR_RETURN(const Frame frame, inbox_.TakeControl(Inbox::kForever));
    if (frame.header.kind == FrameKind::kControl) return ParsePacket(frame);
    if (runner_ == nullptr)
      return InvalidArgument("key frame: expected none to be asked for before the first step");
    ISTHMUS_RETURN_IF_ERROR(runner_->AnswerKeyFrameRequest(frame.header));
  }
}

absl::StatusOr<Tensor> Session::FetchTensor(const std::string& name) {
  v1::Packet request;
  request.mutable_tensor_request()->set_name(name);
  ISTHMUS_RETURN_IF_ERROR(Tell(request));
  TensorAssembly assembly(int64_t{1} << 40);
  do {
    ISTHMUS_ASSIGN_OR_RETURN(const v1::Packet packet, NextPacket());
    if (packet.has_failure()) return FailureStatus(packet.failure(), "client");
    if (!packet.has_tensor_chunk())
      return InvalidArgument("weights: expected ", name, ", got another message");
    ISTHMUS_RETURN_IF_ERROR(assembly.Add(packet.tensor_chunk()));
  } while (!assembly.complete());
  std::vector<NamedTensor> tensors = assembly.Take();
  if (tensors.size() != 1 || tensors[0].name != name)
    return InvalidArgument("weights: expected ", name, ", got another tensor");
  return std::move(tensors[0].tensor);
}

absl::Status Session::Obey() {
  for (bool end = false; !end;) {
    ISTHMUS_ASSIGN_OR_RETURN(const v1::Packet packet, NextPacket());
    ISTHMUS_RETURN_IF_ERROR(EndPass());
    ISTHMUS_RETURN_IF_ERROR(Do(packet, &end));
    metrics_.CountLinks(links_.TotalStats());
  }
  return absl::OkStatus();
}

// The client commands when every party is through the pass before: until then a neighbour may ask
// for a frame of this step again.
absl::Status Session::EndPass() {
  runner_->EndPass();
  if (const auto step = std::exchange(uncommitted_step_, std::nullopt); step.has_value()) {
    ISTHMUS_RETURN_IF_ERROR(runner_->CommitCodecs(*step));
    codec_state_bytes_ = runner_->codec_state_bytes();
  }
  return absl::OkStatus();
}

absl::Status Session::Do(const v1::Packet& packet, bool* end) {
  switch (packet.packet_case()) {
    case v1::Packet::kStepBegin:
      return RunStep(packet.step_begin());
    case v1::Packet::kEvalBegin:
      return RunEval(packet.eval_begin());
    case v1::Packet::kProbeBegin:
      return RunProbe(packet.probe_begin());
    case v1::Packet::kStepDescend:
      return Descend(packet.step_descend());
    case v1::Packet::kGenerateExtend:
      return RunExtend(packet.generate_extend());
    case v1::Packet::kGatherState:
      return ListState(packet.gather_state().optimizer());
    case v1::Packet::kTensorRequest:
      return SendState(packet.tensor_request().name());
    case v1::Packet::kTensorChunk:
      return TakeState(packet.tensor_chunk());
    case v1::Packet::kStateSet:
      return SetState();
    case v1::Packet::kSaveCodecs:
      return SaveCodecs(packet.save_codecs());
    case v1::Packet::kRestoreCodecs:
      return RestoreCodecs(packet.restore_codecs());
    case v1::Packet::kEndJob:
      *end = true;
      return absl::OkStatus();
    case v1::Packet::kFailure:
      return FailureStatus(packet.failure(), "client");
    default:
      return InvalidArgument("control: expected a command, got message ", packet.packet_case());
  }
}

absl::Status Session::RunStep(const v1::StepBegin& begin) {
  const int64_t start_us = NowUs();
  if (plan_.train().probes() > 0)
    return InvalidArgument("step: expected probes, as the plan says, got a step of gradients");
  if (begin.micro_batches() == 0 ||
      begin.micro_batches() > static_cast<uint32_t>(plan_.micro_batches()))
    return InvalidArgument("step: expected 1 to ", plan_.micro_batches(), " micro-batches, got ",
                           begin.micro_batches());
  if (!(std::abs(begin.quality_offset_db()) <= kMaxQualityOffsetDb))
    return InvalidArgument("step: expected a quality offset within ", kMaxQualityOffsetDb,
                           " dB, got ", begin.quality_offset_db());
  runner_->SetQualityOffset(begin.quality_offset_db());
  ISTHMUS_RETURN_IF_ERROR(
      runner_->RunPass({begin.step(), begin.micro_batches(), EdgeMode::kTrain, begin.loss_scale()},
                       nullptr, nullptr));
  if (plan_.shared_embedding() && LossParty(plan_) == party_)
    ISTHMUS_RETURN_IF_ERROR(runner_->ExchangeSharedGradient(begin.step()));
  ISTHMUS_ASSIGN_OR_RETURN(const auto squares, group_->GradientSquares());
  double gradient_scale = 1.0;
  if (begin.norms()) {
    v1::Packet norms;
    norms.mutable_step_norms()->set_step(begin.step());
    for (const auto& square : squares) AddSquare(square, norms.mutable_step_norms()->add_squares());
    ISTHMUS_RETURN_IF_ERROR(Tell(norms));
    ISTHMUS_ASSIGN_OR_RETURN(const v1::Packet commit, NextPacket());
    if (commit.has_failure()) return FailureStatus(commit.failure(), "client");
    if (!commit.has_step_commit() || commit.step_commit().step() != begin.step())
      return InvalidArgument("step ", begin.step(), ": expected its commit, got another message");
    gradient_scale = commit.step_commit().gradient_scale();
  }
  v1::Packet packet;
  if (!begin.norms())
    for (const auto& square : squares) AddSquare(square, packet.mutable_step_done()->add_squares());
  ISTHMUS_RETURN_IF_ERROR(Update(begin, gradient_scale, packet.mutable_step_done()));
  ISTHMUS_RETURN_IF_ERROR(Tell(packet));
  metrics_.CountStep(static_cast<double>(NowUs() - start_us) * 1e-6, codec_state_bytes_);
  return absl::OkStatus();
}

absl::Status Session::Update(const v1::StepBegin& begin, double gradient_scale,
                             v1::StepDone* done) {
  ISTHMUS_RETURN_IF_ERROR(group_->Step(begin.lr(), gradient_scale));
  uncommitted_step_ = begin.step();
  codec_state_bytes_ = runner_->codec_state_bytes();
  ReportStep(begin.step(), done);
  return absl::OkStatus();
}

// What this party did since the last report.
void Session::ReportStep(uint64_t step, v1::StepDone* done) {
  const PassTimes times = runner_->TakeTimes();
  const auto reports = runner_->TakeUse();
  metrics_.CountTimes(times);
  metrics_.CountEdges(reports);
  done->set_step(step);
  done->set_compute_s(times.compute_s);
  done->set_encode_s(times.encode_s);
  done->set_decode_s(times.decode_s);
  done->set_wait_s(times.wait_s);
  done->set_peak_rss_bytes(PeakResidentBytes());
  done->set_store_bytes(codec_state_bytes_);
  for (const auto& report : reports) *done->add_edges() = EdgeUseToProto(report);
}

absl::Status Session::RunEval(const v1::EvalBegin& begin) {
  if (begin.micro_batches() == 0 || begin.micro_batches() > kMaxMicroBatches)
    return InvalidArgument("evaluation: expected 1 to ", kMaxMicroBatches, " micro-batches, got ",
                           begin.micro_batches());
  const EdgeMode mode = begin.uncompressed() ? EdgeMode::kUncompressed : EdgeMode::kEval;
  ISTHMUS_RETURN_IF_ERROR(
      runner_->RunPass({begin.step(), begin.micro_batches(), mode, 1.0}, nullptr, nullptr));
  runner_->TakeTimes();  // evaluation is not training time
  return TellEvalDone();
}

// One side of a probe; its time is reported with the step.
absl::Status Session::RunProbe(const v1::ProbeBegin& begin) {
  if (plan_.train().probes() <= begin.probe())
    return InvalidArgument("probe: expected one below ", plan_.train().probes(), ", got ",
                           begin.probe());
  if (begin.micro_batches() == 0 ||
      begin.micro_batches() > static_cast<uint32_t>(plan_.micro_batches()))
    return InvalidArgument("probe: expected 1 to ", plan_.micro_batches(), " micro-batches, got ",
                           begin.micro_batches());
  if (!std::isfinite(begin.scale()))
    return InvalidArgument("probe: expected a finite scale, got ", begin.scale());
  const Probe probe = {plan_.train().seed(), begin.step(), begin.probe()};
  ISTHMUS_RETURN_IF_ERROR(group_->Move(probe, begin.scale()));
  const PassSpec pass = {begin.step(), begin.micro_batches(), EdgeMode::kProbe, 1.0};
  ISTHMUS_RETURN_IF_ERROR(runner_->RunPass(pass, nullptr, nullptr));
  ISTHMUS_RETURN_IF_ERROR(group_->MoveBack());
  return TellEvalDone();
}

absl::Status Session::Descend(const v1::StepDescend& end) {
  const int64_t start_us = NowUs();
  if (static_cast<uint32_t>(end.slopes_size()) != plan_.train().probes() ||
      plan_.train().probes() == 0)
    return InvalidArgument("step: expected a slope for each of ", plan_.train().probes(),
                           " probes, got ", end.slopes_size());
  Descent descent = {plan_.train().seed(),
                     end.step(),
                     {end.slopes().begin(), end.slopes().end()},
                     end.lr(),
                     plan_.train().optimizer().weight_decay()};
  for (const double slope : descent.slopes)
    if (!std::isfinite(slope)) return InvalidArgument("step: expected finite slopes, got ", slope);
  ISTHMUS_RETURN_IF_ERROR(group_->Descend(descent));
  v1::Packet packet;
  ReportStep(end.step(), packet.mutable_step_done());
  ISTHMUS_RETURN_IF_ERROR(Tell(packet));
  metrics_.CountStep(static_cast<double>(NowUs() - start_us) * 1e-6, codec_state_bytes_);
  return absl::OkStatus();
}

absl::Status Session::TellEvalDone() {
  const auto reports = runner_->TakeUse();
  metrics_.CountEdges(reports);
  v1::Packet packet;
  v1::EvalDone* done = packet.mutable_eval_done();
  for (const auto& report : reports) *done->add_edges() = EdgeUseToProto(report);
  return Tell(packet);
}

absl::Status Session::RunExtend(const v1::GenerateExtend& extend) {
  if (extend.reset()) runner_->ResetCache();
  ISTHMUS_RETURN_IF_ERROR(runner_->Extend(extend.index(), {}).status());
  metrics_.CountEdges(runner_->TakeUse());
  return absl::OkStatus();
}

// Names and shapes; the client asks for each tensor when it has room for it.
absl::Status Session::ListState(bool optimizer) {
  std::vector<TensorHeader> headers = group_->TrainedHeaders();
  if (optimizer) {
    for (TensorHeader& header : group_->OptimizerHeaders()) {
      header.name = StateName{true, header.name}.Wire();
      headers.push_back(std::move(header));
    }
  }
  for (const TensorHeader& header : headers)
    ISTHMUS_RETURN_IF_ERROR(SendTensorHeader(&links_, kClientParty, header));
  const auto reports = runner_->TakeUse();
  metrics_.CountEdges(reports);
  v1::Packet end;
  v1::StateEnd* state_end = end.mutable_state_end();
  for (const auto& report : reports) *state_end->add_edges() = EdgeUseToProto(report);
  return Tell(end);
}

absl::Status Session::SendState(const std::string& wire_name) {
  ISTHMUS_ASSIGN_OR_RETURN(Tensor tensor, group_->ReadState(StateName::Parse(wire_name).name));
  return SendTensor(&links_, kClientParty, {wire_name, std::move(tensor)});
}

// Each tensor is set when it is whole: this party's state is never held twice.
absl::Status Session::TakeState(const v1::TensorChunk& chunk) {
  ISTHMUS_RETURN_IF_ERROR(incoming_->Add(chunk));
  if (!incoming_->complete()) return absl::OkStatus();
  for (const NamedTensor& tensor : incoming_->Take()) {
    const StateName state = StateName::Parse(tensor.name);
    const absl::Status status = group_->WriteState(state.name, tensor.tensor);
    if (absl::IsNotFound(status)) continue;  // of a neighbour's layer, tied
    if (!status.ok() && state_status_.ok()) state_status_ = status;
    (state.optimizer ? set_optimizer_ : set_trained_).insert(state.name);
  }
  return absl::OkStatus();
}

absl::Status Session::SetState() {
  if (!incoming_->complete())
    return InvalidArgument("state: expected whole tensors, got a part of one");
  absl::Status status = std::exchange(state_status_, absl::OkStatus());
  if (status.ok()) status = CheckSet(group_->TrainedHeaders(), set_trained_);
  if (status.ok() && !set_optimizer_.empty())
    status = CheckSet(group_->OptimizerHeaders(), set_optimizer_);
  set_trained_.clear();
  set_optimizer_.clear();
  v1::Packet answer;
  answer.mutable_state_set();
  if (!status.ok()) answer.mutable_state_set()->set_error(std::string(status.message()));
  return Tell(answer);
}

// Only an embedded cluster's client may say where on this machine something is written.
std::string Session::CodecDirectory(const std::string& asked) const {
  if (options_.started_by_client && !asked.empty()) return asked;
  return options_.state_dir.empty() ? "" : absl::StrCat(options_.state_dir, "/codecs");
}

absl::Status Session::SaveCodecs(const v1::SaveCodecs& save) {
  v1::Packet answer;
  const std::string directory = CodecDirectory(save.directory());
  if (directory.empty()) {  // nothing is kept: no hash
    answer.mutable_codecs_saved();
    return Tell(answer);
  }
  const absl::StatusOr<std::string> hash = runner_->SaveCodecs(directory);
  if (hash.ok()) {
    answer.mutable_codecs_saved()->set_hash(*hash);
    if (!options_.started_by_client) KeepNewestCodecs(directory, *hash);
  } else {
    answer.mutable_codecs_saved()->set_error(std::string(hash.status().message()));
  }
  return Tell(answer);
}

// The client keeps a few checkpoints; so does this worker of its share of them.
void Session::KeepNewestCodecs(const std::string& directory, const std::string& hash) {
  constexpr size_t kKept = 8;
  saved_codecs_.push_back(absl::StrCat(directory, "/codecs-", hash, ".bin"));
  if (saved_codecs_.size() <= kKept) return;
  const std::string oldest = saved_codecs_.front();
  saved_codecs_.erase(saved_codecs_.begin());
  std::error_code error;  // a file that is gone already is fine
  if (std::find(saved_codecs_.begin(), saved_codecs_.end(), oldest) == saved_codecs_.end())
    std::filesystem::remove(oldest, error);
}

absl::Status Session::RestoreCodecs(const v1::RestoreCodecs& restore) {
  v1::Packet answer;
  absl::Status status = absl::OkStatus();
  const std::string directory = CodecDirectory(restore.directory());
  if (restore.hash().empty()) {
    runner_->RequestKeyFrames();
  } else if (directory.empty()) {
    status = absl::FailedPreconditionError("codec state: expected --state DIR, got no folder");
  } else {
    status = runner_->RestoreCodecs(directory, restore.hash());
  }
  answer.mutable_codecs_restored()->set_ok(status.ok());
  answer.mutable_codecs_restored()->set_reason(std::string(status.message()));
  return Tell(answer);
}

}  // namespace isthmus
