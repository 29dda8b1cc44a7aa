#include "client/cut_model.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "compression/store_folder.h"

namespace isthmus {
namespace {

std::vector<LayerRange> RangesBetween(const std::vector<int64_t>& after, int64_t num_layers) {
  std::vector<LayerRange> ranges;
  int64_t first = 0;
  for (const int64_t cut : after) {
    ranges.push_back({first, cut, ranges.empty(), false});
    first = cut;
  }
  ranges.push_back({first, num_layers, ranges.empty(), true});
  return ranges;
}

TrainSpec ForwardOnly(const CutModel::Options& options) {
  TrainSpec spec;
  spec.frozen = options.adapter == nullptr;
  if (options.adapter != nullptr) spec.lora = options.adapter->lora;
  spec.lora.dropout = 0.0;
  spec.threads = options.threads;
  spec.device = options.device;
  return spec;
}

// Ids and targets belong to the ranges at the two ends; nothing else may see them.
MicroBatch OnlyRows(const MicroBatch& mb) {
  MicroBatch rows;
  rows.step = mb.step;
  rows.index = mb.index;
  rows.samples = mb.samples;
  rows.lengths = mb.lengths;
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> ParseCuts(absl::string_view text, int64_t num_layers) {
  std::vector<int64_t> after;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int64_t cut = 0;
    if (!absl::SimpleAtoi(part, &cut) || cut < 0 || cut > num_layers) {
      return InvalidArgument("--cut-after: expected blocks from 0 to ", num_layers, ", got ", part,
                             " (the model has ", num_layers, " blocks)");
    }
    if (!after.empty() && cut <= after.back()) {
      return InvalidArgument("--cut-after: expected ascending blocks, each once, got ", text);
    }
    after.push_back(cut);
  }
  return after;
}

absl::StatusOr<std::unique_ptr<CutModel>> CutModel::Open(Engine* engine, const ModelConfig& config,
                                                         WeightSource* weights,
                                                         const Options& options) {
  std::unique_ptr<CutModel> model(new CutModel());
  for (const int64_t after : options.cuts.after) {
    EdgeShape shape;
    shape.width = config.hidden_size;
    shape.edge = static_cast<uint32_t>(model->cuts_.size());
    shape.num_samples = options.num_samples;
    shape.max_sample_tokens = options.max_sample_tokens;
    shape.total_steps = options.num_samples;
    shape.state_dir = StoreFolder("");
    // The last of two cuts leads back to the client, which knows what crossed the first.
    const bool back = options.cuts.after.size() == 2 && shape.edge == 1;
    shape.shared_row_ids = shape.shared_earlier = back;
    Cut cut;
    cut.use.after = after;
    cut.use.codec = options.cuts.codec;
    ISTHMUS_ASSIGN_OR_RETURN(cut.sender, EdgeSender::Make(options.cuts.codec, shape, 0));
    ISTHMUS_ASSIGN_OR_RETURN(cut.receiver, EdgeReceiver::Make(options.cuts.codec, shape));
    model->cuts_.push_back(std::move(cut));
  }
  const auto ranges = RangesBetween(options.cuts.after, config.num_layers);
  ISTHMUS_ASSIGN_OR_RETURN(
      model->stages_, engine->MakeStages(config, ForwardOnly(options), ranges, weights, false));
  if (options.adapter != nullptr) {
    ISTHMUS_RETURN_IF_ERROR(model->stages_->SetTrained(options.adapter->tensors));
  }
  return model;
}

absl::StatusOr<Tensor> CutModel::Cross(Cut* cut, const Tensor& hidden, EdgeMode mode,
                                       const MicroBatch& mb, EdgeHints* hints) {
  ISTHMUS_ASSIGN_OR_RETURN(const Frame frame, cut->sender->Encode(mb, hidden, mode, false, *hints));
  MicroBatch received;
  const bool shared = cut->sender->shape().shared_row_ids;
  ISTHMUS_ASSIGN_OR_RETURN(
      Tensor decoded, cut->receiver->Decode(frame, mode, &received, shared ? *hints : EdgeHints()));
  const absl::Span<const uint32_t> ids = cut->receiver->decoder()->RowIds();
  hints->row_ids.assign(ids.begin(), ids.end());
  hints->earlier = decoded;
  const EdgeUse use = cut->sender->TakeUse(static_cast<Traffic>(mode));
  cut->use.elements += use.elements;
  cut->use.wire_bytes += use.wire_bytes();
  return decoded;
}

absl::StatusOr<StageOutput> CutModel::Evaluate(MicroBatch mb) {
  mb.step = ++step_;
  const MicroBatch rows = OnlyRows(mb);
  Tensor hidden;
  EdgeHints hints{{mb.ids.begin(), mb.ids.end()}, Tensor()};
  for (size_t i = 0; i < cuts_.size(); ++i) {
    ISTHMUS_ASSIGN_OR_RETURN(StageOutput out, stages_->stage(i)->Forward(mb, Pass::kEval, hidden));
    ISTHMUS_ASSIGN_OR_RETURN(hidden, Cross(&cuts_[i], out.hidden, EdgeMode::kTrain, rows, &hints));
    ISTHMUS_RETURN_IF_ERROR(cuts_[i].sender->encoder()->CommitStep(step_));
    ISTHMUS_RETURN_IF_ERROR(cuts_[i].receiver->decoder()->CommitStep(step_));
  }
  return stages_->stage(cuts_.size())->Forward(mb, Pass::kEval, hidden);
}

absl::StatusOr<Tensor> CutModel::Extend(absl::Span<const int32_t> ids) {
  MicroBatch rows;
  rows.step = ++step_;
  rows.samples = {0};
  rows.lengths = {static_cast<int32_t>(ids.size())};
  Tensor hidden;
  EdgeHints hints{{ids.begin(), ids.end()}, Tensor()};
  for (size_t i = 0; i < cuts_.size(); ++i) {
    ISTHMUS_ASSIGN_OR_RETURN(
        const Tensor out,
        stages_->stage(i)->Extend(i == 0 ? ids : absl::Span<const int32_t>(), hidden));
    ISTHMUS_ASSIGN_OR_RETURN(hidden, Cross(&cuts_[i], out, EdgeMode::kGenerate, rows, &hints));
  }
  const bool whole = cuts_.empty();
  return stages_->stage(cuts_.size())->Extend(whole ? ids : absl::Span<const int32_t>(), hidden);
}

std::vector<CutUse> CutModel::cuts() const {
  std::vector<CutUse> uses;
  for (const Cut& cut : cuts_) uses.push_back(cut.use);
  return uses;
}

}  // namespace isthmus
