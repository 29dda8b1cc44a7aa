#include "client/session.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/clock.h"
#include "base/done_reading.h"
#include "base/log.h"
#include "base/process.h"
#include "base/status.h"
#include "client/model_order.h"
#include "pipeline/state_transfer.h"

namespace isthmus {
namespace {

// A worker lists its state in a frame for each tensor: 24 000 for LoRA on every linear map of 80
// layers and AdamW. Their bytes have a bound of their own.
constexpr int64_t kMaxControlFrames = 1 << 16;

Inbox::Bounds BoundsOf(const v1::Plan& plan) {
  Inbox::Bounds bounds;
  bounds.edges = static_cast<uint32_t>(plan.edges_size());
  bounds.micro_batches = 1u << 24;  // evaluation counts its windows
  bounds.control_frames = kMaxControlFrames;
  return bounds;
}

std::vector<StageGroup::NamedSquare> SquaresFromProto(
    const google::protobuf::RepeatedPtrField<v1::NamedSquare>& rows) {
  std::vector<StageGroup::NamedSquare> squares;
  for (const v1::NamedSquare& row : rows) squares.push_back({row.name(), row.sum_of_squares()});
  return squares;
}

}  // namespace

ClientSession::ClientSession(const v1::Plan& plan, const ModelConfig& config, WeightSource* weights)
    : plan_(plan),
      config_(config),
      weights_(weights),
      inbox_(BoundsOf(plan)),
      links_(&inbox_),
      metrics_("client", plan.job_id(), 0) {
  for (uint32_t party = 1; party < static_cast<uint32_t>(plan_.parties_size()); ++party)
    workers_.push_back(party);
}

ClientSession::~ClientSession() {
  if (!closed_) links_.CloseAll(0);
}

absl::StatusOr<std::unique_ptr<ClientSession>> ClientSession::Make(const v1::Plan& plan,
                                                                   const ModelConfig& config,
                                                                   WeightSource* weights) {
  ISTHMUS_RETURN_IF_ERROR(CheckPlan(plan));
  return std::unique_ptr<ClientSession>(new ClientSession(plan, config, weights));
}

absl::Status ClientSession::Start(const std::string& token, const ClientSessionOptions& options) {
  TrainSpec train = TrainSpecFromProto(plan_.train());
  train.threads = options.threads;
  train.device = options.device;
  train.edge = options.edge;
  // Workers load while this party does.
  ISTHMUS_RETURN_IF_ERROR(Dial(token, options.grpc));
  const bool shared = plan_.shared_embedding() && LossParty(plan_) != kClientParty;
  ISTHMUS_ASSIGN_OR_RETURN(
      group_, options.engine->MakeStages(config_, train, RangesOfParty(plan_, kClientParty),
                                         weights_, shared));
  ISTHMUS_ASSIGN_OR_RETURN(runner_, StageRunner::Make(plan_, kClientParty, group_.get(), &inbox_,
                                                      &links_, options.state_dir));
  if (!options.dump.directory.empty())
    runner_->set_edge_dump(std::make_unique<EdgeDump>(options.dump));
  runner_->set_control_handler(
      [this](Received received) { return OnControl(std::move(received)); });
  return AwaitReady();
}

absl::Status ClientSession::Dial(const std::string& token, const GrpcOptions& grpc) {
  for (const uint32_t party : workers_) {
    const LinkIdentity identity{plan_.job_id(), token, plan_.generation(), kClientParty, party};
    absl::StatusOr<std::unique_ptr<Link>> link =
        DialLink(plan_.parties(static_cast<int>(party)).address(), identity, grpc);
    ISTHMUS_RETURN_IF_ERROR(Annotate(link.status(), WorkerName(party)));
    ISTHMUS_RETURN_IF_ERROR(links_.Add(party, *std::move(link)));
  }
  return absl::OkStatus();
}

absl::Status ClientSession::AwaitReady() {
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
  for (auto& [party, packet] : std::exchange(answers_, {}))
    if (!packet.has_ready())
      return InvalidArgument(WorkerName(party), ": expected to be ready, got another message");
  return absl::OkStatus();
}

std::string ClientSession::WorkerName(uint32_t party) const {
  return party < static_cast<uint32_t>(plan_.parties_size())
             ? absl::StrCat("worker ", plan_.parties(static_cast<int>(party)).name())
             : "worker";
}

absl::Status ClientSession::SendAll(const v1::Packet& packet) {
  for (const uint32_t party : workers_) ISTHMUS_RETURN_IF_ERROR(links_.SendPacket(party, packet));
  return absl::OkStatus();
}

absl::Status ClientSession::AwaitControl(const std::function<bool()>& done) {
  while (!done()) {
    ISTHMUS_ASSIGN_OR_RETURN(Received received, inbox_.TakeControlFrom(Inbox::kForever));
    if (received.frame.header.kind == FrameKind::kKeyFrameRequest) {
      ISTHMUS_RETURN_IF_ERROR(runner_->AnswerKeyFrameRequest(received.frame.header));
      continue;
    }
    ISTHMUS_RETURN_IF_ERROR(OnControl(std::move(received)));
  }
  return absl::OkStatus();
}

absl::Status ClientSession::OnControl(Received received) {
  ISTHMUS_ASSIGN_OR_RETURN(v1::Packet packet, ParsePacket(received.frame));
  const uint32_t party = received.party;
  switch (packet.packet_case()) {
    case v1::Packet::kFailure:
      return FailureStatus(packet.failure(), WorkerName(party));
    case v1::Packet::kTensorRequest:
      return ServeTensor(party, packet.tensor_request().name());
    case v1::Packet::kTensorChunk:
      return OnTensorChunk(party, packet.tensor_chunk());
    case v1::Packet::kStepNorms:
      squares_[party] = SquaresFromProto(packet.step_norms().squares());
      return absl::OkStatus();
    case v1::Packet::kStepDone: {
      v1::StepDone& done = step_done_[party] = std::move(*packet.mutable_step_done());
      for (const v1::EdgeUse& use : done.edges()) Count(EdgeUseFromProto(use));
      peak_rss_[party] = std::max(peak_rss_[party], done.peak_rss_bytes());
      return absl::OkStatus();
    }
    case v1::Packet::kEvalDone:
      for (const v1::EdgeUse& use : packet.eval_done().edges()) Count(EdgeUseFromProto(use));
      break;
    case v1::Packet::kStateEnd:
      for (const v1::EdgeUse& use : packet.state_end().edges()) Count(EdgeUseFromProto(use));
      break;
    default:
      break;
  }
  if (!answers_.emplace(party, std::move(packet)).second)
    return InvalidArgument(WorkerName(party), ": expected one answer, got a second");
  return absl::OkStatus();
}

absl::Status ClientSession::ServeTensor(uint32_t party, const std::string& name) {
  absl::StatusOr<Tensor> tensor = weights_->Load(name);
  if (tensor.ok()) {
    const absl::Status sent = SendTensor(&links_, party, {name, *tensor});
    DoneReading(tensor->bytes());
    return sent;
  }
  v1::Packet packet;
  packet.mutable_tensor_chunk()->set_name(name);
  packet.mutable_tensor_chunk()->set_error(std::string(tensor.status().message()));
  return links_.SendPacket(party, packet);
}

absl::StatusOr<StepResult> ClientSession::TrainStep(uint64_t step, uint32_t micro_batches,
                                                    double loss_scale, double lr,
                                                    BatchSource* source) {
  const int64_t start_us = NowUs();
  const double clip_norm = plan_.train().optimizer().clip_norm();
  v1::Packet begin;
  begin.mutable_step_begin()->set_step(step);
  begin.mutable_step_begin()->set_micro_batches(micro_batches);
  begin.mutable_step_begin()->set_loss_scale(loss_scale);
  begin.mutable_step_begin()->set_lr(lr);
  begin.mutable_step_begin()->set_norms(clip_norm > 0);
  begin.mutable_step_begin()->set_quality_offset_db(quality_offset_db_);
  runner_->SetQualityOffset(quality_offset_db_);
  ISTHMUS_RETURN_IF_ERROR(SendAll(begin));

  std::vector<MicroBatchLoss> losses;
  ISTHMUS_RETURN_IF_ERROR(
      runner_->RunPass({step, micro_batches, EdgeMode::kTrain, loss_scale}, source, &losses));
  if (plan_.shared_embedding() && LossParty(plan_) != kClientParty)
    ISTHMUS_RETURN_IF_ERROR(runner_->ExchangeSharedGradient(step));

  StepResult result;
  for (const MicroBatchLoss& loss : losses) {
    result.loss_sum += loss.loss_sum;
    result.predicted += loss.predicted;
  }
  if (!std::isfinite(result.loss_sum))
    return absl::FailedPreconditionError(
        absl::StrCat("loss: expected a number, got ", result.loss_sum, " (step ", step, ")"));

  ISTHMUS_ASSIGN_OR_RETURN(const auto own, group_->GradientSquares());
  double gradient_scale = 1.0;
  if (clip_norm > 0) {
    ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return squares_.size() == workers_.size(); }));
    ISTHMUS_ASSIGN_OR_RETURN(result.grad_norm, TotalNorm(own));
    result.clipped = result.grad_norm > clip_norm;
    if (result.clipped) gradient_scale = clip_norm / result.grad_norm;
    v1::Packet commit;
    commit.mutable_step_commit()->set_step(step);
    commit.mutable_step_commit()->set_gradient_scale(gradient_scale);
    ISTHMUS_RETURN_IF_ERROR(SendAll(commit));
  }
  const int64_t update_us = NowUs();
  ISTHMUS_RETURN_IF_ERROR(group_->Step(lr, gradient_scale));
  const double update_s = static_cast<double>(NowUs() - update_us) * 1e-6;
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return step_done_.size() == workers_.size(); }));
  ISTHMUS_RETURN_IF_ERROR(runner_->CommitCodecs(step));
  for (auto& [party, done] : std::exchange(step_done_, {})) {
    result.worker_busy_s[party] = done.compute_s() + done.encode_s() + done.decode_s();
    if (clip_norm <= 0) squares_[party] = SquaresFromProto(done.squares());
  }
  if (clip_norm <= 0) {
    ISTHMUS_ASSIGN_OR_RETURN(result.grad_norm, TotalNorm(own));
  }

  result.times = runner_->TakeTimes();
  result.times.compute_s += update_s;
  CountStep(result, micro_batches, start_us, source);
  return result;
}

void ClientSession::CountStep(const StepResult& result, uint32_t micro_batches, int64_t start_us,
                              BatchSource* source) {
  const auto reports = runner_->TakeUse();
  for (const auto& report : reports) Count(report);
  metrics_.CountEdges(reports);
  metrics_.CountTimes(result.times);
  metrics_.CountLinks(links_.TotalStats());
  metrics_.CountStep(static_cast<double>(NowUs() - start_us) * 1e-6, runner_->codec_state_bytes());
  int64_t tokens = 0;
  for (uint32_t m = 0; m < micro_batches; ++m) tokens += source->Batch(m).tokens();
  metrics_.CountTokens(
      tokens, result.loss_sum / static_cast<double>(std::max<int64_t>(1, result.predicted)));
}

// Every tensor's sum of squares, added in the model's order: the same bits whatever the placement.
absl::StatusOr<double> ClientSession::TotalNorm(const std::vector<StageGroup::NamedSquare>& own) {
  std::vector<StageGroup::NamedSquare> all = own;
  for (auto& [party, squares] : std::exchange(squares_, {})) {
    for (auto& square : squares) {
      // The tied tensor's gradient is the same at both of its parties; it counts once.
      const bool twice = plan_.shared_embedding() &&
                         std::any_of(own.begin(), own.end(),
                                     [&](const auto& mine) { return mine.name == square.name; });
      if (!twice) all.push_back(std::move(square));
    }
  }
  SortInModelOrder(config_, &all,
                   [](const StageGroup::NamedSquare& s) -> const std::string& { return s.name; });
  double sum = 0.0;
  for (const auto& square : all) sum += square.sum_of_squares;
  if (!std::isfinite(sum))
    return absl::FailedPreconditionError("gradient: expected a finite norm, got none");
  return std::sqrt(sum);
}

absl::StatusOr<std::vector<MicroBatchLoss>> ClientSession::Evaluate(uint64_t step,
                                                                    uint32_t micro_batches,
                                                                    bool uncompressed,
                                                                    BatchSource* source) {
  v1::Packet begin;
  begin.mutable_eval_begin()->set_step(step);
  begin.mutable_eval_begin()->set_micro_batches(micro_batches);
  begin.mutable_eval_begin()->set_uncompressed(uncompressed);
  ISTHMUS_RETURN_IF_ERROR(SendAll(begin));
  std::vector<MicroBatchLoss> losses;
  const EdgeMode mode = uncompressed ? EdgeMode::kUncompressed : EdgeMode::kEval;
  ISTHMUS_RETURN_IF_ERROR(runner_->RunPass({step, micro_batches, mode, 1.0}, source, &losses));
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
  answers_.clear();
  runner_->EndPass();
  runner_->TakeTimes();  // evaluation is not training time
  const auto reports = runner_->TakeUse();
  for (const auto& report : reports) Count(report);
  metrics_.CountEdges(reports);
  return losses;
}

absl::StatusOr<Tensor> ClientSession::Extend(absl::Span<const int32_t> ids, bool reset) {
  v1::Packet packet;
  packet.mutable_generate_extend()->set_index(extends_);
  packet.mutable_generate_extend()->set_reset(reset);
  ISTHMUS_RETURN_IF_ERROR(SendAll(packet));
  if (reset) runner_->ResetCache();
  ISTHMUS_ASSIGN_OR_RETURN(Tensor logits, runner_->Extend(extends_, ids));
  extends_ = (extends_ + 1) & 0xffff;
  for (const auto& report : runner_->TakeUse()) Count(report);
  return logits;
}

absl::Status ClientSession::Close() {
  v1::Packet end;
  end.mutable_end_job();
  const absl::Status status = SendAll(end);
  links_.CloseAll(2'000'000);
  closed_ = true;
  return status;
}

void ClientSession::Abort(absl::Status why) { inbox_.Fail(std::move(why)); }

void ClientSession::Count(const StageRunner::EdgeReport& report) {
  totals_[{report.edge, report.direction, report.traffic}].Add(report.use);
}

std::vector<ClientSession::EdgeTotal> ClientSession::totals() const {
  std::vector<EdgeTotal> rows;
  for (const auto& [key, use] : totals_)
    rows.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), use});
  return rows;
}

}  // namespace isthmus
