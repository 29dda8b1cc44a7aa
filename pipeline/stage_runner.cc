#include "pipeline/stage_runner.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"

namespace isthmus {
namespace {

// Adds the time of its scope to `*total_s`.
class Stopwatch {
 public:
  explicit Stopwatch(double* total_s) : total_s_(total_s), start_us_(NowUs()) {}
  ~Stopwatch() { *total_s_ += static_cast<double>(NowUs() - start_us_) * 1e-6; }

 private:
  double* total_s_;
  int64_t start_us_;
};

Frame PlainFrame(FrameKind kind, const v1::Plan& plan, const PassSpec& pass, uint32_t micro_batch) {
  Frame frame;
  frame.header.kind = kind;
  frame.header.flags = pass.mode == EdgeMode::kTrain ? 0 : FrameHeader::kEvaluation;
  frame.header.generation = plan.generation();
  frame.header.step = pass.step;
  frame.header.micro_batch = micro_batch;
  return frame;
}

// Joins the report of the same row; makes one where nothing else was sent.
void AddResent(const ResentRow& resent, std::vector<StageRunner::EdgeReport>* reports) {
  const auto direction = static_cast<Direction>(resent.direction);
  const auto traffic = static_cast<Traffic>(resent.traffic);
  auto report = std::find_if(reports->begin(), reports->end(), [&](const auto& r) {
    return r.edge == resent.edge && r.direction == direction && r.traffic == traffic;
  });
  if (report == reports->end())
    report = reports->insert(report, {resent.edge, direction, traffic, {}});
  EdgeUse use;
  use.payload_bytes = resent.payload_bytes;
  use.side_bytes = resent.side_bytes;
  use.header_bytes = resent.header_bytes;
  use.resends = resent.frames;
  use.resend_bytes = use.wire_bytes();
  report->use.Add(use);
}

}  // namespace

void PassTimes::Add(const PassTimes& o) {
  compute_s += o.compute_s;
  encode_s += o.encode_s;
  decode_s += o.decode_s;
  wait_s += o.wait_s;
}

StageRunner::StageRunner(const v1::Plan& plan, uint32_t party, StageGroup* group, Inbox* inbox,
                         Outlet* outlet)
    : plan_(plan), party_(party), group_(group), inbox_(inbox), outlet_(outlet) {}

absl::StatusOr<std::unique_ptr<StageRunner>> StageRunner::Make(const v1::Plan& plan, uint32_t party,
                                                               StageGroup* group, Inbox* inbox,
                                                               Outlet* outlet,
                                                               const std::string& state_dir) {
  auto runner = std::unique_ptr<StageRunner>(new StageRunner(plan, party, group, inbox, outlet));
  const std::vector<uint32_t> stages = StagesOfParty(plan, party);
  ISTHMUS_CHECK(stages.size() == group->size());
  for (size_t i = 0; i < stages.size(); ++i) runner->slot_of_stage_[stages[i]] = i;
  for (int e = 0; e < plan.edges_size(); ++e) {
    const uint32_t below = plan.stages(e).party(), above = plan.stages(e + 1).party();
    if (below != party && above != party) continue;
    const v1::EdgeSpec& edge = plan.edges(e);
    const bool sends_forward = below == party;
    const EdgeShape forward = EdgeShapeOf(plan, edge.index(), Direction::kForward, state_dir);
    const EdgeShape backward = EdgeShapeOf(plan, edge.index(), Direction::kBackward, state_dir);
    EdgeEnd end;
    end.peer = sends_forward ? above : below;
    ISTHMUS_ASSIGN_OR_RETURN(
        end.sender, EdgeSender::Make(sends_forward ? edge.codec_forward() : edge.codec_backward(),
                                     sends_forward ? forward : backward, plan.generation()));
    ISTHMUS_ASSIGN_OR_RETURN(end.receiver, EdgeReceiver::Make(sends_forward ? edge.codec_backward()
                                                                            : edge.codec_forward(),
                                                              sends_forward ? backward : forward));
    runner->edges_[edge.index()] = std::move(end);
  }
  return runner;
}

absl::Status StageRunner::RunPass(const PassSpec& spec, BatchSource* source,
                                  std::vector<MicroBatchLoss>* losses) {
  const bool forward_only = spec.mode != EdgeMode::kTrain;
  ISTHMUS_ASSIGN_OR_RETURN(const Schedule schedule,
                           ScheduleOf(plan_, spec.micro_batches, forward_only));
  EndPass();  // the one before
  pass_ = spec;
  max_in_flight_ = schedule.max_in_flight;
  source_ = source;
  losses_ = losses;
  losses_returned_ = 0;
  if (losses_ != nullptr) losses_->assign(spec.micro_batches, {});
  PartyProgress progress(schedule, party_);
  while (!progress.finished()) ISTHMUS_RETURN_IF_ERROR(DoNext(&progress));
  while (losses_returned_ < LossesToCome()) ISTHMUS_RETURN_IF_ERROR(TakeLoss());
  source_ = nullptr;
  losses_ = nullptr;
  return absl::OkStatus();
}

void StageRunner::EndPass() {
  batches_.clear();
  hints_.clear();
  for (auto& [index, edge] : edges_) edge.kept.clear();
}

// A micro-batch is begun when the one `in_flight` before it is done: nobody asks for that any more.
void StageRunner::Forget(uint32_t micro_batch, uint32_t in_flight, EdgeEnd* end) {
  if (micro_batch < in_flight) return;
  end->kept.erase(end->kept.begin(), end->kept.upper_bound(micro_batch - in_flight));
}

void StageRunner::SetQualityOffset(double db) {
  for (auto& [index, edge] : edges_)
    if (edge.sender != nullptr) edge.sender->SetQualityOffset(db);
}

// Does the most urgent thing whose frame has come; waits for one where nothing can be done without.
absl::Status StageRunner::DoNext(PartyProgress* progress) {
  const std::vector<Action> candidates = progress->Candidates();
  // What comes behind an action that needs no frame has to wait for it.
  const auto ready = std::find_if(candidates.begin(), candidates.end(), [&](const Action& action) {
    return !progress->NeedsFrame(action);
  });
  std::vector<Inbox::Slot> slots;
  for (auto action = candidates.begin(); action != ready; ++action)
    slots.push_back(SlotOf(*action));
  const size_t edge_slots = slots.size();
  if (losses_returned_ < LossesToCome()) slots.push_back({FrameKind::kLoss, 0, losses_returned_});
  Frame frame;
  ISTHMUS_ASSIGN_OR_RETURN(const std::optional<size_t> found,
                           TakeAny(slots, ready == candidates.end(), &frame));
  if (found.has_value() && *found == edge_slots) {
    progress->LossReturned();
    return KeepLoss(frame);
  }
  const auto action =
      found.has_value() ? candidates.begin() + static_cast<std::ptrdiff_t>(*found) : ready;
  ISTHMUS_RETURN_IF_ERROR(action->work == Work::kForward
                              ? Forward(action->stage, action->micro_batch, std::move(frame))
                              : Backward(action->stage, action->micro_batch, std::move(frame)));
  progress->Done(*action);
  return absl::OkStatus();
}

Inbox::Slot StageRunner::SlotOf(const Action& action) {
  return action.work == Work::kForward
             ? Inbox::Slot{FrameKind::kActivation, static_cast<uint16_t>(action.stage - 1),
                           action.micro_batch}
             : Inbox::Slot{FrameKind::kGradient, static_cast<uint16_t>(action.stage),
                           action.micro_batch};
}

absl::Status StageRunner::Forward(uint32_t stage, uint32_t micro_batch, Frame frame) {
  Tensor in;
  if (stage > 0) {
    MicroBatch described;
    ISTHMUS_ASSIGN_OR_RETURN(in, DecodeOn(stage - 1, std::move(frame), &described));
    if (source_ == nullptr) batches_[micro_batch] = std::move(described);
    Forget(micro_batch, max_in_flight_[stage - 1], &edges_.at(stage - 1));
  }
  MicroBatch& mb = BatchOf(micro_batch);
  const bool head = stage + 1 == static_cast<uint32_t>(plan_.stages_size());
  if (head && labels_travel()) ISTHMUS_RETURN_IF_ERROR(AddTargets(micro_batch, &mb));
  if (stage == 0 && labels_travel()) ISTHMUS_RETURN_IF_ERROR(SendTargets(mb));
  if (stage > 0 && in.dim(0) != mb.tokens())
    return InvalidArgument("activation: expected ", mb.tokens(), " tokens, got ", in.dim(0),
                           " (stage ", stage, ", micro-batch ", micro_batch, ")");
  absl::StatusOr<StageOutput> out;
  {
    Stopwatch watch(&times_.compute_s);
    out = StageOf(stage)->Forward(mb, pass_.mode == EdgeMode::kTrain ? Pass::kTrain : Pass::kEval,
                                  in);
  }
  ISTHMUS_RETURN_IF_ERROR(out.status());
  if (!head) return SendOn(stage, mb, std::move(out->hidden));
  return ReportLoss(micro_batch, {out->loss_sum, out->predicted, std::move(out->sample_loss_sum),
                                  std::move(out->sample_predicted)});
}

absl::Status StageRunner::Backward(uint32_t stage, uint32_t micro_batch, Frame frame) {
  MicroBatch& mb = BatchOf(micro_batch);
  Tensor grad_out;
  if (stage + 1 < static_cast<uint32_t>(plan_.stages_size())) {
    ISTHMUS_ASSIGN_OR_RETURN(grad_out, DecodeOn(stage, std::move(frame), &mb));
    edges_.at(stage).kept.erase(micro_batch);  // its gradient says that it was decoded
    EdgeSender* sender = edges_.at(stage).sender.get();
    if (sender->wants_gradient()) {
      Stopwatch watch(&times_.encode_s);
      ISTHMUS_RETURN_IF_ERROR(sender->ObserveGradient(mb, grad_out));
    }
  }
  absl::StatusOr<Tensor> grad_in;
  {
    Stopwatch watch(&times_.compute_s);
    grad_in = StageOf(stage)->Backward(micro_batch, grad_out);
  }
  ISTHMUS_RETURN_IF_ERROR(grad_in.status());
  return stage == 0 ? absl::OkStatus() : SendOn(stage - 1, mb, *std::move(grad_in));
}

void StageRunner::KeepRowIds(uint32_t micro_batch, absl::Span<const uint32_t> ids) {
  hints_[micro_batch].row_ids.assign(ids.begin(), ids.end());
}

absl::StatusOr<Tensor> StageRunner::DecodeOn(uint32_t edge, Frame frame, MicroBatch* mb) {
  EdgeEnd& end = edges_.at(edge);
  const bool shared = end.receiver->shape().shared_row_ids;
  for (int attempt = 0;; ++attempt) {
    absl::StatusOr<Tensor> tensor;
    {
      Stopwatch watch(&times_.decode_s);
      tensor = end.receiver->Decode(frame, pass_.mode, mb,
                                    shared ? hints_[frame.header.micro_batch] : EdgeHints());
    }
    if (tensor.ok() && end.receiver->shape().direction == Direction::kForward && !shared)
      KeepRowIds(mb->index, end.receiver->decoder()->RowIds());
    if (tensor.ok() || tensor.status().code() != absl::StatusCode::kDataLoss || attempt > 0)
      return tensor;
    const FrameHeader lost = frame.header;
    Frame request = PlainFrame(FrameKind::kKeyFrameRequest, plan_, pass_, lost.micro_batch);
    request.header.edge = static_cast<uint16_t>(edge);
    request.header.direction = lost.direction;
    end.receiver->decoder()->RequestKeyFrames();
    ISTHMUS_RETURN_IF_ERROR(outlet_->Send(end.peer, std::move(request)));
    ISTHMUS_ASSIGN_OR_RETURN(frame, Take(lost.kind, edge, lost.micro_batch));
  }
}

// The first edge's sender knows the tokens; what leaves it are numbers of its own.
EdgeHints StageRunner::HintsOf(const EdgeSender& sender, const MicroBatch& mb) const {
  const bool inner = sender.shape().direction == Direction::kForward && sender.shape().edge > 0;
  if (!inner) return {{mb.ids.begin(), mb.ids.end()}, Tensor()};
  const auto hints = hints_.find(mb.index);
  return hints == hints_.end() ? EdgeHints() : hints->second;
}

absl::Status StageRunner::SendOn(uint32_t edge, const MicroBatch& mb, Tensor tensor) {
  EdgeEnd& end = edges_.at(edge);
  const bool forward = end.sender->shape().direction == Direction::kForward;
  const EdgeHints hints = HintsOf(*end.sender, mb);
  const bool again = end.kept.contains(mb.index);  // as a key frame
  if (dump_ != nullptr && pass_.mode == EdgeMode::kTrain && !again)
    ISTHMUS_RETURN_IF_ERROR(dump_->Keep(end.sender->shape(), mb, tensor, hints.row_ids));
  absl::StatusOr<Frame> frame;
  {
    Stopwatch watch(&times_.encode_s);
    frame = end.sender->Encode(mb, tensor, pass_.mode, outlet_->tls(end.peer), hints);
  }
  ISTHMUS_RETURN_IF_ERROR(frame.status());
  if (forward && edge == 0) KeepRowIds(mb.index, end.sender->encoder()->RowIds());
  const bool reads = pass_.mode == EdgeMode::kEval || pass_.mode == EdgeMode::kProbe;
  const bool stateful = pass_.mode == EdgeMode::kTrain || reads;
  if (stateful && end.sender->encoder()->StateBytes() > 0) {
    if (reads) Forget(mb.index, max_in_flight_[0], &end);
    end.kept[mb.index] = std::move(tensor);
  }
  Stopwatch watch(&times_.wait_s);
  return outlet_->Send(end.peer, *std::move(frame));
}

absl::StatusOr<Frame> StageRunner::Take(FrameKind kind, uint32_t edge, uint32_t micro_batch) {
  Frame frame;
  const std::vector<Inbox::Slot> slots = {{kind, static_cast<uint16_t>(edge), micro_batch}};
  ISTHMUS_RETURN_IF_ERROR(TakeAny(slots, true, &frame).status());
  return frame;
}

// Index of the first slot that has a frame; nothing when none has and `wait` is false. Control
// frames are dealt with on the way.
absl::StatusOr<std::optional<size_t>> StageRunner::TakeAny(const std::vector<Inbox::Slot>& slots,
                                                           bool wait, Frame* frame) {
  Stopwatch watch(&times_.wait_s);
  for (;;) {
    absl::StatusOr<Received> received =
        inbox_->TakeAnyOf(slots, true, wait ? Inbox::kForever : NowUs());
    if (!wait && absl::IsDeadlineExceeded(received.status())) return std::nullopt;
    ISTHMUS_RETURN_IF_ERROR(received.status());
    const FrameHeader& header = received->frame.header;
    if (header.kind == FrameKind::kKeyFrameRequest) {
      ISTHMUS_RETURN_IF_ERROR(AnswerKeyFrameRequest(header));
      continue;
    }
    if (header.kind == FrameKind::kControl) {
      ISTHMUS_CHECK(on_control_ != nullptr);
      ISTHMUS_RETURN_IF_ERROR(on_control_(*std::move(received)));
      continue;
    }
    if (header.step != pass_.step)
      return InvalidArgument("frame: expected step ", pass_.step, ", got ", header.step, " (",
                             Name(header.kind), ", edge ", header.edge, ")");
    for (size_t i = 0; i < slots.size(); ++i) {
      const Inbox::Slot& slot = slots[i];
      if (slot.kind != header.kind || slot.edge != header.edge ||
          slot.micro_batch != header.micro_batch)
        continue;
      *frame = std::move(received->frame);
      return i;
    }
    return Internal("inbox: expected a frame that was asked for, got another");
  }
}

absl::Status StageRunner::AnswerKeyFrameRequest(const FrameHeader& request) {
  const auto end = edges_.find(request.edge);
  if (end == edges_.end())
    return InvalidArgument("key frame: expected an edge of party ", party_, ", got ", request.edge);
  const auto kept = end->second.kept.find(request.micro_batch);
  if (request.step != pass_.step || kept == end->second.kept.end())
    return DataLoss("edge ", request.edge,
                    ": expected a key frame to be asked for in its step, got ",
                    "a request for micro-batch ", request.micro_batch, " of step ", request.step,
                    " after it (the peer lost its codec state; --resume starts from key frames)");
  end->second.sender->encoder()->RequestKeyFrames();
  return SendOn(request.edge, BatchOf(request.micro_batch), kept->second);
}

MicroBatch& StageRunner::BatchOf(uint32_t micro_batch) {
  auto [it, fresh] = batches_.try_emplace(micro_batch);
  if (fresh && source_ != nullptr) it->second = source_->Batch(micro_batch);
  it->second.step = pass_.step;
  it->second.index = micro_batch;
  it->second.loss_scale = pass_.loss_scale;
  return it->second;
}

Stage* StageRunner::StageOf(uint32_t stage) { return group_->stage(slot_of_stage_.at(stage)); }

absl::Status StageRunner::SendTargets(const MicroBatch& mb) {
  Frame frame = PlainFrame(FrameKind::kTargets, plan_, pass_, mb.index);
  ByteWriter writer(&frame.payload);
  for (const int32_t target : mb.targets) writer.Put(target);
  return outlet_->Send(LossParty(plan_), std::move(frame));
}

absl::Status StageRunner::AddTargets(uint32_t micro_batch, MicroBatch* mb) {
  ISTHMUS_ASSIGN_OR_RETURN(const Frame frame, Take(FrameKind::kTargets, 0, micro_batch));
  if (static_cast<int64_t>(frame.payload.size()) != mb->tokens() * 4)
    return InvalidArgument("targets: expected ", mb->tokens(), " ids, got ", frame.payload.size(),
                           " bytes");
  ByteReader reader(frame.payload);
  mb->targets.resize(static_cast<size_t>(mb->tokens()));
  for (int32_t& target : mb->targets) {
    ISTHMUS_ASSIGN_OR_RETURN(target, reader.Get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status StageRunner::ReportLoss(uint32_t micro_batch, MicroBatchLoss loss) {
  if (party_ == kClientParty) {
    if (losses_ != nullptr) (*losses_)[micro_batch] = std::move(loss);
    return absl::OkStatus();
  }
  Frame frame = PlainFrame(FrameKind::kLoss, plan_, pass_, micro_batch);
  ByteWriter writer(&frame.payload);
  writer.Put(loss.loss_sum);
  writer.Put(loss.predicted);
  for (size_t i = 0; i < loss.sample_loss_sum.size(); ++i) {
    writer.Put(loss.sample_loss_sum[i]);
    writer.Put(loss.sample_predicted[i]);
  }
  return outlet_->Send(kClientParty, std::move(frame));
}

// With labels at the server the client learns the losses from frames.
uint32_t StageRunner::LossesToCome() const {
  return party_ == kClientParty && labels_travel() && losses_ != nullptr ? pass_.micro_batches : 0;
}

absl::Status StageRunner::TakeLoss() {
  ISTHMUS_ASSIGN_OR_RETURN(const Frame frame, Take(FrameKind::kLoss, 0, losses_returned_));
  return KeepLoss(frame);
}

absl::Status StageRunner::KeepLoss(const Frame& frame) {
  ByteReader reader(frame.payload);
  MicroBatchLoss& loss = (*losses_)[losses_returned_++];
  ISTHMUS_ASSIGN_OR_RETURN(loss.loss_sum, reader.Get<double>());
  ISTHMUS_ASSIGN_OR_RETURN(loss.predicted, reader.Get<int64_t>());
  while (reader.remaining() > 0) {
    ISTHMUS_ASSIGN_OR_RETURN(loss.sample_loss_sum.emplace_back(), reader.Get<double>());
    ISTHMUS_ASSIGN_OR_RETURN(loss.sample_predicted.emplace_back(), reader.Get<int64_t>());
  }
  return absl::OkStatus();
}

PassTimes StageRunner::TakeTimes() { return std::exchange(times_, {}); }

std::vector<StageRunner::EdgeReport> StageRunner::TakeUse() {
  std::vector<EdgeReport> reports;
  for (auto& [index, end] : edges_) {
    for (size_t kind = 0; kind < kTrafficKinds; ++kind) {
      const auto traffic = static_cast<Traffic>(kind);
      const EdgeUse use = end.sender->TakeUse(traffic);
      if (use.frames > 0) reports.push_back({index, end.sender->shape().direction, traffic, use});
    }
  }
  if (shared_use_.frames > 0) {
    const Direction direction = party_ == kClientParty ? Direction::kForward : Direction::kBackward;
    reports.push_back({static_cast<uint32_t>(plan_.edges_size()), direction, Traffic::kTraining,
                       std::exchange(shared_use_, {})});
  }
  for (const ResentRow& resent : outlet_->TakeResent()) AddResent(resent, &reports);
  return reports;
}

}  // namespace isthmus
