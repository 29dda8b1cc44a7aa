#include "engine/edge/edge_stage.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "engine/stage_input.h"
#include "kernels/rows.h"

namespace isthmus::edge {
namespace {

int64_t LongestOf(absl::Span<const int32_t> lengths) {
  return *std::max_element(lengths.begin(), lengths.end());
}

}  // namespace

EdgeStage::EdgeStage(Weights* weights, WorkSpace* work, const LayerRange& range)
    : weights_(weights), work_(work), range_(range), head_(weights, work->pool()) {
  for (int64_t block = 0; block < num_blocks(); ++block)
    caches_.emplace_back(weights->config(), weights->kv_format());
  if (!range.embedding) return;
  while (passive_ < num_blocks() && !weights->Updates(range.first_layer + passive_)) ++passive_;
}

absl::Status EdgeStage::Reserve(int64_t count, int64_t tokens) {
  Activations kept;
  Carver sizes(nullptr);
  const int64_t bytes = CarveKept(&sizes, tokens, &kept);
  for (int64_t i = 0; i < count; ++i) {
    ISTHMUS_RETURN_IF_ERROR(free_.emplace_back().Reserve(bytes, work_->account()));
  }
  return absl::OkStatus();
}

// The largest that is free: sizes settle after a few micro-batches.
absl::StatusOr<Buffer> EdgeStage::TakeMemory(int64_t bytes) {
  Buffer buffer;
  if (!free_.empty()) {
    const auto largest = std::max_element(
        free_.begin(), free_.end(),
        [](const Buffer& a, const Buffer& b) { return a.capacity() < b.capacity(); });
    std::swap(buffer, *largest);
    std::swap(*largest, free_.back());
    free_.pop_back();
  }
  ISTHMUS_RETURN_IF_ERROR(buffer.Reserve(bytes, work_->account()));
  return buffer;
}

BlockContext EdgeStage::ContextOf(int64_t block, const RowLayout& rows,
                                  const DropoutKey* dropout) const {
  BlockContext context;
  context.config = &weights_->config();
  context.block = &weights_->block(range_.first_layer + block);
  context.rows = &rows;
  context.rotary = &work_->rotary();
  context.dropout = dropout;
  context.pool = work_->pool();
  context.work = &work_->work().block;
  return context;
}

float* EdgeStage::Behind(const Activations& kept, int64_t block) const {
  const size_t next = static_cast<size_t>(block + 1 - passive_);
  return next < kept.blocks.size() ? kept.blocks[next].x : work_->work().rows;
}

// The rows that enter the first block: embedded ids, or what came over the cut.
void EdgeStage::ReadInput(absl::Span<const int32_t> ids, const RowLayout& rows, const Tensor& in,
                          float* x) const {
  const int64_t width = weights_->config().hidden_size;
  if (!range_.embedding) {
    std::memcpy(x, in.data(), static_cast<size_t>(rows.tokens * width) * sizeof(float));
    return;
  }
  std::vector<float> position(static_cast<size_t>(width));
  int64_t row = 0;
  for (int32_t length : rows.lengths) {
    for (int64_t p = 0; p < length; ++p, ++row) {
      float* to = x + row * width;
      weights_->tokens().Read(ids[static_cast<size_t>(row)], to);
      if (!weights_->positions().is_there()) continue;
      weights_->positions().Read(rows.past + p, position.data());
      kernels::AddElements(to, position.data(), width, to);
    }
  }
}

absl::StatusOr<Tensor> EdgeStage::Hidden(int64_t rows) {
  const int64_t width = weights_->config().hidden_size;
  ISTHMUS_ASSIGN_OR_RETURN(TensorPool::Fresh fresh, work_->tensors()->Take(rows, width));
  std::memcpy(fresh.values, work_->work().rows, static_cast<size_t>(rows * width) * sizeof(float));
  return std::move(fresh.tensor);
}

absl::StatusOr<StageOutput> EdgeStage::Forward(const MicroBatch& mb, Pass pass, const Tensor& in) {
  ISTHMUS_RETURN_IF_ERROR(CheckMicroBatch(weights_->config(), range_, mb, in));
  const bool train = pass == Pass::kTrain;
  if (train && weights_->train().probes > 0) {
    return absl::FailedPreconditionError(
        "pass: expected an evaluation, which is all that training by probes needs, got training");
  }
  if (train && kept_.count(mb.index) > 0) return AlreadyKept(mb.index);
  const RowLayout rows = {mb.lengths, mb.tokens(), LongestOf(mb.lengths), 0};
  ISTHMUS_RETURN_IF_ERROR(work_->Reserve(rows.tokens, rows.longest));
  Activations kept;
  if (!spare_.empty()) {
    std::swap(kept, spare_.back());
    spare_.pop_back();
  }
  if (train) {
    ISTHMUS_RETURN_IF_ERROR(Train(mb, in, &kept));
  } else {
    ReadInput(mb.ids, rows, in, work_->work().rows);
    RunBlocks(0, num_blocks(), rows, /*extend=*/false);
  }
  StageOutput out;
  if (range_.head) {
    head_.Forward(mb, work_->work().rows, work_->work().head, &out, train ? &kept.head : nullptr);
  } else {
    ISTHMUS_ASSIGN_OR_RETURN(out.hidden, Hidden(rows.tokens));
  }
  if (train) kept_.emplace(mb.index, std::move(kept));
  return out;
}

void EdgeStage::RunBlocks(int64_t first, int64_t last, const RowLayout& rows, bool extend) {
  const Work& work = work_->work();
  BlockKept kept = work.kept;
  float* x = work.rows;
  for (int64_t block = first; block < last; ++block) {
    std::swap(kept.x, x);
    KvCache* cache = extend ? &caches_[static_cast<size_t>(block)] : nullptr;
    ForwardBlock(ContextOf(block, rows, nullptr), &kept, cache, x);
  }
  if (x == work.rows) return;
  const int64_t floats = rows.tokens * weights_->config().hidden_size;
  std::memcpy(work.rows, x, static_cast<size_t>(floats) * sizeof(float));
}

// Cuts the arrays of a micro-batch; returns their size.
int64_t EdgeStage::CarveKept(Carver* carver, int64_t tokens, Activations* kept) const {
  const ModelConfig& config = weights_->config();
  kept->blocks.resize(static_cast<size_t>(num_blocks() - passive_));
  for (BlockKept& block : kept->blocks) {
    block = weights_->train().recompute ? BlockKept::CarveInput(carver, config, tokens)
                                        : BlockKept::Carve(carver, config, tokens);
  }
  if (range_.head) kept->head.rows = carver->Floats(tokens * config.hidden_size);
  return carver->used();
}

absl::Status EdgeStage::Train(const MicroBatch& mb, const Tensor& in, Activations* kept) {
  const TrainSpec& spec = weights_->train();
  kept->tokens = mb.tokens();
  kept->longest = LongestOf(mb.lengths);
  kept->ids = mb.ids;
  kept->dropout.rate = spec.lora.dropout;
  kept->dropout.seed = spec.seed;
  kept->dropout.step = mb.step;
  kept->dropout.samples = mb.samples;
  kept->dropout.lengths = mb.lengths;
  Carver sizes(nullptr);
  kept->bytes = CarveKept(&sizes, kept->tokens, kept);
  ISTHMUS_ASSIGN_OR_RETURN(kept->memory, TakeMemory(kept->bytes));
  Carver carver(kept->memory.data());
  CarveKept(&carver, kept->tokens, kept);
  const RowLayout rows = kept->rows();
  float* const passed = work_->work().rows;
  ReadInput(mb.ids, rows, in, passed);
  RunBlocks(0, passive_, rows, /*extend=*/false);
  float* const first = Behind(*kept, passive_ - 1);
  const int64_t floats = rows.tokens * weights_->config().hidden_size;
  if (first != passed) std::memcpy(first, passed, static_cast<size_t>(floats) * sizeof(float));
  for (int64_t block = passive_; block < num_blocks(); ++block) {
    const BlockContext context = ContextOf(block, rows, &kept->dropout);
    BlockKept* own = &kept->blocks[static_cast<size_t>(block - passive_)];
    if (spec.recompute) {
      BlockKept passing = work_->work().kept;
      passing.x = own->x;
      ForwardBlock(context, &passing, nullptr, Behind(*kept, block));
    } else {
      ForwardBlock(context, own, nullptr, Behind(*kept, block));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Tensor> EdgeStage::Backward(uint32_t micro_batch, const Tensor& grad_out) {
  const auto found = kept_.find(micro_batch);
  if (found == kept_.end()) return NotKept(micro_batch, kept_.size());
  const ModelConfig& config = weights_->config();
  if (!range_.head) {
    ISTHMUS_RETURN_IF_ERROR(CheckHidden(config, grad_out, found->second.tokens, "gradient"));
  }
  Activations kept = std::move(found->second);
  kept_.erase(found);
  ISTHMUS_RETURN_IF_ERROR(work_->Reserve(kept.tokens, kept.longest));
  float* grad = work_->work().rows;
  const size_t bytes = static_cast<size_t>(kept.tokens * config.hidden_size) * sizeof(float);
  if (!range_.head) {
    std::memcpy(grad, grad_out.data(), bytes);
  } else if (weights_->head().weight.gradient == nullptr) {
    std::memcpy(grad, kept.head.rows, bytes);
  } else {
    std::memset(grad, 0, bytes);
    head_.Backward(kept.head, work_->work().head, grad);
  }
  BackwardBlocks(kept, grad);
  Tensor grad_in;
  if (range_.embedding) {
    AddEmbeddingGradient(kept, grad);
  } else {
    ISTHMUS_ASSIGN_OR_RETURN(grad_in, Hidden(kept.tokens));
  }
  free_.push_back(std::move(kept.memory));
  spare_.push_back(std::move(kept));
  return grad_in;
}

// Nothing in front of a frozen embedding asks for a gradient.
void EdgeStage::BackwardBlocks(const Activations& kept, float* grad) {
  const RowLayout rows = kept.rows();
  const bool in_front = !range_.embedding || weights_->tokens().trained.gradient != nullptr;
  for (int64_t block = num_blocks() - 1; block >= passive_; --block) {
    const BlockContext context = ContextOf(block, rows, &kept.dropout);
    BlockKept own = kept.blocks[static_cast<size_t>(block - passive_)];
    if (weights_->train().recompute) {
      BlockKept again = work_->work().kept;
      again.x = own.x;
      // The block's output is not needed: it goes where the kept input of the work space lies.
      ForwardBlock(context, &again, nullptr, work_->work().kept.x);
      own = again;
    }
    // What is trained of the norm in front comes from the same gradient.
    const bool wants_input =
        block > passive_ || in_front || context.block->attention_norm.weight.gradient != nullptr;
    BackwardBlock(context, own, wants_input, grad);
  }
}

void EdgeStage::AddEmbeddingGradient(const Activations& kept, const float* grad) {
  if (weights_->tokens().trained.gradient == nullptr) return;
  const int64_t width = weights_->config().hidden_size;
  int64_t row = 0;
  for (int32_t length : kept.dropout.lengths) {
    for (int64_t p = 0; p < length; ++p, ++row) {
      const float* from = grad + row * width;
      float* to = weights_->tokens().trained.gradient + kept.ids[static_cast<size_t>(row)] * width;
      kernels::AddElements(to, from, width, to);
      if (!weights_->positions().is_there()) continue;
      to = weights_->positions().trained.gradient + p * width;
      kernels::AddElements(to, from, width, to);
    }
  }
}

void EdgeStage::DropActivations() {
  for (auto& [index, kept] : kept_) free_.push_back(std::move(kept.memory));
  kept_.clear();
}

int64_t EdgeStage::activation_bytes() const {
  int64_t total = 0;
  for (const auto& [index, kept] : kept_) total += kept.bytes;
  return total;
}

absl::Status EdgeStage::GrowCaches(int64_t positions) {
  if (positions <= cache_positions_) return absl::OkStatus();
  const int64_t room = std::max<int64_t>({positions, 2 * cache_positions_, 64});
  for (KvCache& cache : caches_)
    ISTHMUS_RETURN_IF_ERROR(cache.Grow(room, cached_, work_->account()));
  cache_positions_ = room;
  return absl::OkStatus();
}

absl::StatusOr<Tensor> EdgeStage::Extend(absl::Span<const int32_t> ids, const Tensor& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t fresh,
                           CheckExtension(weights_->config(), range_, cached_, ids, in));
  ISTHMUS_RETURN_IF_ERROR(GrowCaches(cached_ + fresh));
  ISTHMUS_RETURN_IF_ERROR(work_->Reserve(fresh, cached_ + fresh));
  const int32_t length = static_cast<int32_t>(fresh);
  const RowLayout rows = {{&length, 1}, fresh, cached_ + fresh, cached_};
  ReadInput(ids, rows, in, work_->work().rows);
  RunBlocks(0, num_blocks(), rows, /*extend=*/true);
  cached_ += fresh;
  return range_.head ? LastLogits(fresh) : Hidden(fresh);
}

absl::StatusOr<Tensor> EdgeStage::LastLogits(int64_t rows) {
  const ModelConfig& config = weights_->config();
  ISTHMUS_ASSIGN_OR_RETURN(TensorPool::Fresh fresh, work_->tensors()->Take(1, config.vocab_size));
  head_.Logits(work_->work().rows + (rows - 1) * config.hidden_size, work_->work().head,
               fresh.values);
  return Tensor::View(DType::kF32, {config.vocab_size}, fresh.values, fresh.tensor.owner());
}

void EdgeStage::ResetCache() { cached_ = 0; }

}  // namespace isthmus::edge
