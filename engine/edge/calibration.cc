#include "engine/edge/calibration.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "base/status.h"
#include "engine/edge/block.h"
#include "engine/edge/packed_model.h"
#include "engine/edge/work_space.h"
#include "engine/stage_input.h"
#include "kernels/calibrated_rounding.h"
#include "kernels/rows.h"

namespace isthmus {
namespace edge {
namespace {

constexpr int64_t kBatchRows = 512;

// Windows that run together, and where their rows of the hidden state begin.
struct Batch {
  int64_t first_row = 0;
  std::vector<int32_t> lengths;
  RowLayout rows() const {
    RowLayout layout;
    layout.lengths = lengths;
    for (int32_t length : lengths) {
      layout.tokens += length;
      layout.longest = std::max<int64_t>(layout.longest, length);
    }
    return layout;
  }
};

std::vector<Batch> Batches(const std::vector<Window>& windows) {
  std::vector<Batch> batches;
  int64_t row = 0, rows = kBatchRows;
  for (const Window& window : windows) {
    const int64_t length = static_cast<int64_t>(window.inputs.size());
    if (rows + length > kBatchRows) {
      batches.emplace_back().first_row = row;
      rows = 0;
    }
    batches.back().lengths.push_back(static_cast<int32_t>(length));
    row += length;
    rows += length;
  }
  return batches;
}

TrainSpec FrozenAs(const std::string& format) {
  TrainSpec train;
  train.frozen = true;
  train.edge.weights = format;
  return train;
}

// Maps of a block that read the same rows.
enum class Reads { kAttentionNorm, kAttended, kFeedForwardNorm, kActivated };

std::vector<Linear*> LinearsThatRead(Reads reads, Block* block) {
  std::vector<Linear*> all;
  switch (reads) {
    case Reads::kAttentionNorm:
      all = {&block->qkv, &block->q, &block->k, &block->v};
      break;
    case Reads::kAttended:
      all = {&block->out};
      break;
    case Reads::kFeedForwardNorm:
      all = {&block->gate, &block->up};
      break;
    case Reads::kActivated:
      all = {&block->down};
      break;
  }
  std::vector<Linear*> present;
  std::copy_if(all.begin(), all.end(), std::back_inserter(present),
               [](const Linear* linear) { return linear->out > 0; });
  return present;
}

// One block: fp32 at first, its matrices replaced by what their codes restore one after the other.
class BlockCalibration {
 public:
  static absl::StatusOr<std::unique_ptr<BlockCalibration>> Load(ModelDirectory* model,
                                                                int64_t layer, int threads) {
    const auto account = std::make_shared<MemoryAccount>(0);
    const LayerRange range = {layer, layer + 1, false, false};
    ISTHMUS_ASSIGN_OR_RETURN(auto weights,
                             Weights::Load(model->config(), FrozenAs("f32"), {&range, 1}, 0,
                                           /*shared_embedding=*/false, model, account));
    return std::unique_ptr<BlockCalibration>(
        new BlockCalibration(std::move(weights), layer, threads, account));
  }

  Block* block() { return &block_; }
  ThreadPool* pool() { return work_.pool(); }

  // Room for any of these batches.
  absl::Status Reserve(const std::vector<Batch>& batches) {
    for (const Batch& batch : batches) {
      const RowLayout rows = batch.rows();
      ISTHMUS_RETURN_IF_ERROR(work_.Reserve(rows.tokens, rows.longest));
    }
    return absl::OkStatus();
  }

  // The block over x [tokens, hidden], by the model's own matrices or by those that replaced them,
  // as far as it takes; returns what the maps read, until the next call.
  const float* Run(Reads reads, bool exact, const RowLayout& rows, const float* x) {
    const BlockWork& work = work_.work().block;
    BlockKept kept = work_.work().kept;
    std::memcpy(kept.x, x, BytesOf(rows));
    if (reads == Reads::kAttentionNorm) {
      ForwardNorm(config(), block_.attention_norm, pool(), kept.x, rows.tokens, work.normal,
                  kept.attention_norm);
      return work.normal;
    }
    ForwardBlock(ContextOf(exact, rows), &kept, nullptr, work_.work().rows);
    if (reads == Reads::kAttended) return kept.attended;
    if (reads == Reads::kActivated) return work.inner;
    ForwardNorm(config(), block_.feed_forward_norm, pool(), kept.h, rows.tokens, work.normal,
                kept.feed_forward_norm);
    return work.normal;
  }

  // The block's output after Run(kActivated), [tokens, hidden].
  void ReadOutput(const RowLayout& rows, float* y) {
    std::memcpy(y, work_.work().rows, BytesOf(rows));
  }

  // From now on `linear` is what `packed` restores.
  absl::Status Replace(const PackedMatrix& packed, Linear* linear) {
    std::vector<float> values(static_cast<size_t>(packed.out() * packed.in()));
    packed.Dequantize(0, packed.out(), values.data());
    ISTHMUS_ASSIGN_OR_RETURN(PackedMatrix restored,
                             PackedMatrix::Pack(values, packed.out(), packed.in(), {}));
    replaced_.push_back(std::move(restored));
    linear->packed = &replaced_.back();
    return absl::OkStatus();
  }

 private:
  BlockCalibration(std::unique_ptr<Weights> weights, int64_t layer, int threads,
                   const std::shared_ptr<MemoryAccount>& account)
      : weights_(std::move(weights)),
        work_(weights_.get(), /*head=*/false, threads, account),
        original_(weights_->block(layer)),
        block_(original_) {}

  const ModelConfig& config() const { return weights_->config(); }
  size_t BytesOf(const RowLayout& rows) const {
    return static_cast<size_t>(rows.tokens * config().hidden_size) * sizeof(float);
  }
  BlockContext ContextOf(bool exact, const RowLayout& rows) {
    BlockContext context;
    context.config = &config();
    context.block = exact ? &original_ : &block_;
    context.rows = &rows;
    context.rotary = &work_.rotary();
    context.pool = pool();
    context.work = &work_.work().block;
    return context;
  }

  const std::unique_ptr<Weights> weights_;
  WorkSpace work_;
  const Block& original_;
  Block block_;
  std::deque<PackedMatrix> replaced_;
};

class Calibration {
 public:
  Calibration(ModelDirectory* model, const WeightFormatSpec& spec,
              const CalibrationOptions& options)
      : model_(model), spec_(spec), options_(options), batches_(Batches(options.windows)) {}

  // The text's rows behind the embedding, as it will be packed.
  absl::Status Embed() {
    const ModelConfig& config = model_->config();
    const LayerRange range = {0, 0, /*embedding=*/true, /*head=*/false};
    ISTHMUS_ASSIGN_OR_RETURN(
        const auto weights,
        Weights::Load(config, FrozenAs(WeightFormatText(spec_)), {&range, 1}, 0,
                      /*shared_embedding=*/false, model_, std::make_shared<MemoryAccount>(0)));
    const size_t width = static_cast<size_t>(config.hidden_size);
    std::vector<float> row(width);
    for (const Window& window : options_.windows) {
      ISTHMUS_RETURN_IF_ERROR(CheckIds(config, window.inputs));
      for (size_t position = 0; position < window.inputs.size(); ++position) {
        const size_t at = hidden_.size();
        hidden_.resize(at + width);
        weights->tokens().Read(window.inputs[position], hidden_.data() + at);
        if (!weights->positions().is_there()) continue;
        weights->positions().Read(static_cast<int64_t>(position), row.data());
        kernels::AddElements(hidden_.data() + at, row.data(), config.hidden_size,
                             hidden_.data() + at);
      }
    }
    exact_ = hidden_;
    return absl::OkStatus();
  }

  // Matrices are asked for block after block.
  absl::StatusOr<PackedMatrix> Pack(const TensorInfo& info) {
    while (blocks_done_ <= info.layer) {
      ISTHMUS_RETURN_IF_ERROR(CalibrateBlock(blocks_done_));
      ++blocks_done_;
      if (options_.progress) options_.progress(blocks_done_, model_->config().num_layers);
    }
    return packed_.at(info.name);
  }

  std::vector<CalibratedMatrix> matrices() && { return std::move(matrices_); }

 private:
  absl::Status CalibrateBlock(int64_t layer) {
    ISTHMUS_ASSIGN_OR_RETURN(const auto block,
                             BlockCalibration::Load(model_, layer, options_.threads));
    ISTHMUS_RETURN_IF_ERROR(block->Reserve(batches_));
    packed_.clear();
    for (const Reads reads :
         {Reads::kAttentionNorm, Reads::kAttended, Reads::kFeedForwardNorm, Reads::kActivated}) {
      ISTHMUS_RETURN_IF_ERROR(RoundThatRead(reads, block.get()));
    }
    for (const Batch& batch : batches_) {
      float* const hidden = RowsOf(batch, &hidden_);
      block->Run(Reads::kActivated, /*exact=*/false, batch.rows(), hidden);
      block->ReadOutput(batch.rows(), hidden);
    }
    return absl::OkStatus();
  }

  absl::Status RoundThatRead(Reads reads, BlockCalibration* block) {
    const std::vector<Linear*> linears = LinearsThatRead(reads, block->block());
    InputGram gram(linears.front()->in);
    std::vector<float> exact;
    for (const Batch& batch : batches_) {
      const RowLayout rows = batch.rows();
      const float* const input = block->Run(reads, /*exact=*/true, rows, RowsOf(batch, &exact_));
      exact.assign(input, input + rows.tokens * linears.front()->in);
      // Nobody needs the rows in front of the exact block any more.
      if (reads == Reads::kActivated) block->ReadOutput(rows, RowsOf(batch, &exact_));
      const float* const own = block->Run(reads, /*exact=*/false, rows, RowsOf(batch, &hidden_));
      gram.Add(own, exact.data(), rows.tokens, block->pool());
    }
    ISTHMUS_ASSIGN_OR_RETURN(const CalibratedRounding rounding,
                             CalibratedRounding::Make(gram, spec_, block->pool()));
    for (Linear* linear : linears) ISTHMUS_RETURN_IF_ERROR(RoundLinear(rounding, block, linear));
    return absl::OkStatus();
  }

  absl::Status RoundLinear(const CalibratedRounding& rounding, BlockCalibration* block,
                           Linear* linear) {
    const std::string name =
        absl::StrCat(BlockPrefix(model_->config(), linear->layer), linear->module, ".weight");
    std::vector<float> values(static_cast<size_t>(linear->out * linear->in));
    linear->packed->Dequantize(0, linear->out, values.data());
    const CalibratedCodes codes = rounding.Round(values, linear->out, block->pool());
    PackedMatrix packed = PackedMatrix::FromCodes(codes.channels, linear->in, spec_);
    const double scale = codes.output > 0.0 ? 1.0 / codes.output : 0.0;
    matrices_.push_back({name, codes.nearest_error * scale, codes.error * scale});
    ISTHMUS_RETURN_IF_ERROR(block->Replace(packed, linear));
    packed_[name] = std::move(packed);
    return absl::OkStatus();
  }

  float* RowsOf(const Batch& batch, std::vector<float>* hidden) const {
    return hidden->data() + batch.first_row * model_->config().hidden_size;
  }

  ModelDirectory* const model_;
  const WeightFormatSpec spec_;
  const CalibrationOptions& options_;
  const std::vector<Batch> batches_;
  // [positions, hidden] in front of block blocks_done_: behind packed blocks, and behind the
  // model's own.
  std::vector<float> hidden_, exact_;
  int64_t blocks_done_ = 0;
  std::map<std::string, PackedMatrix> packed_;  // of the last block
  std::vector<CalibratedMatrix> matrices_;
};

}  // namespace
}  // namespace edge

absl::StatusOr<std::vector<CalibratedMatrix>> QuantizeModelCalibrated(
    const std::string& from, const std::string& out, const WeightFormatSpec& spec,
    const CalibrationOptions& options) {
  if (CodeBits(spec.format) > 8) {
    return InvalidArgument("calibration: expected a format of 8 or 4 bits, got ",
                           WeightFormatText(spec));
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto model, ModelDirectory::Open(from));
  if (options.windows.empty()) return InvalidArgument("calibration: expected text, got none");
  for (const Window& window : options.windows) {
    if (static_cast<int64_t>(window.inputs.size()) <= model->config().max_positions) continue;
    return InvalidArgument("calibration: expected windows of at most ",
                           model->config().max_positions, " positions, got ", window.inputs.size());
  }
  edge::Calibration calibration(model.get(), spec, options);
  ISTHMUS_RETURN_IF_ERROR(calibration.Embed());
  ISTHMUS_RETURN_IF_ERROR(QuantizeModel(
      from, out, spec, [&](const TensorInfo& info) { return calibration.Pack(info); }));
  return std::move(calibration).matrices();
}

std::vector<Window> SpreadWindows(const std::vector<Window>& windows, int64_t positions) {
  int64_t total = 0;
  for (const Window& window : windows) total += static_cast<int64_t>(window.inputs.size());
  const double share = std::min(1.0, static_cast<double>(positions) / static_cast<double>(total));
  std::vector<Window> taken;
  int64_t seen = 0, used = 0;
  for (const Window& window : windows) {
    const int64_t length = static_cast<int64_t>(window.inputs.size());
    seen += length;
    const bool due = static_cast<double>(used) < share * static_cast<double>(seen);
    if (!due || used + length > positions) continue;
    taken.push_back(window);
    used += length;
  }
  if (taken.empty() && !windows.empty()) taken.push_back(windows.front());
  return taken;
}

}  // namespace isthmus
