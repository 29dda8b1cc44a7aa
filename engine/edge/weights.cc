#include "engine/edge/weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/done_reading.h"
#include "base/status.h"
#include "engine/edge/packed_model.h"
#include "engine/lora_start.h"
#include "engine/stage_input.h"
#include "model/convert.h"

namespace isthmus::edge {
namespace {

absl::StatusOr<Tensor> LoadChecked(const TensorInfo& info, WeightSource* source) {
  ISTHMUS_ASSIGN_OR_RETURN(Tensor stored, source->Load(info.name));
  if (stored.shape() == info.shape) return stored;
  return InvalidArgument(info.name, ": expected shape ", ToString(info.shape), ", got ",
                         ToString(stored.shape()), " (weights)");
}

// [rows, columns] -> [columns, rows].
Tensor Transposed(const Tensor& matrix) {
  const int64_t rows = matrix.dim(0), columns = matrix.dim(1);
  Tensor out(DType::kF32, {columns, rows});
  const float* from = matrix.floats().data();
  float* to = out.mutable_floats().data();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
  return out;
}

float ElementOf(const Tensor& tensor, int64_t i) {
  if (tensor.dtype() == DType::kF32) return tensor.floats()[static_cast<size_t>(i)];
  const uint16_t bits = static_cast<const uint16_t*>(tensor.data())[i];
  return tensor.dtype() == DType::kBF16 ? FloatFromBf16(bits) : FloatFromF16(bits);
}

// The shape of a packed matrix over pages that nobody has written: they take no memory.
absl::StatusOr<PackedMatrix> PlannedMatrix(int64_t out, int64_t in, const WeightFormatSpec& spec,
                                           int64_t bytes) {
  const size_t size = static_cast<size_t>(bytes);
  void* pages = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) {
    return ResourceExhausted("memory: expected address space for ", bytes,
                             " bytes, got none (plan)");
  }
  std::shared_ptr<const void> owner(pages,
                                    [size](const void* p) { munmap(const_cast<void*>(p), size); });
  return PackedMatrix::View({static_cast<const uint8_t*>(pages), size}, out, in, spec,
                            std::move(owner));
}

// The matrix as a packed model maps it; null: it is packed here.
const PackedMatrix* HeldPacked(WeightSource* source, const std::string& name) {
  const auto* model = dynamic_cast<const PackedModel*>(source);
  return model == nullptr ? nullptr : model->Find(name);
}

}  // namespace

void RowTable::Read(int64_t row, float* out) const {
  if (trained.values != nullptr) {
    std::memcpy(out, trained.values + row * width, static_cast<size_t>(width) * sizeof(float));
  } else if (packed != nullptr) {
    packed->Dequantize(row, 1, out);
  } else {
    for (int64_t i = 0; i < width; ++i) out[i] = ElementOf(stored, row * width + i);
  }
}

absl::StatusOr<std::unique_ptr<Weights>> Weights::Load(const ModelConfig& config,
                                                       const TrainSpec& train,
                                                       absl::Span<const LayerRange> ranges,
                                                       int64_t first_updated, bool shared_embedding,
                                                       WeightSource* source,
                                                       std::shared_ptr<MemoryAccount> account) {
  for (const LayerRange& range : ranges) ISTHMUS_RETURN_IF_ERROR(CheckRange(config, range));
  auto weights = std::unique_ptr<Weights>(
      new Weights(config, train, first_updated, shared_embedding, std::move(account)));
  ISTHMUS_ASSIGN_OR_RETURN(weights->format_, ParseWeightFormat(train.edge.weights));
  ISTHMUS_ASSIGN_OR_RETURN(weights->kv_format_, ParseKvFormat(train.edge.kv_cache));
  weights->outer_format_ = OuterFormat(weights->format_);
  if (!train.full && !train.frozen) {
    LoraSpec* lora = &weights->train_.lora;
    if (lora->targets.empty()) lora->targets = DefaultLoraTargets(config);
    ISTHMUS_RETURN_IF_ERROR(CheckLora(config, *lora));
  }
  ISTHMUS_ASSIGN_OR_RETURN(
      weights->trained_,
      TrainedTensors::Make(train.optimizer, train.probes > 0, train.seed, weights->account_));
  ISTHMUS_RETURN_IF_ERROR(weights->LoadAll(ranges, source));
  return weights;
}

absl::Status Weights::LoadAll(absl::Span<const LayerRange> ranges, WeightSource* source) {
  bool embedding = false, head = false;
  std::set<int64_t> layers;
  for (const LayerRange& range : ranges) {
    embedding |= range.embedding;
    head |= range.head;
    for (int64_t layer = range.first_layer; layer < range.last_layer; ++layer) layers.insert(layer);
  }
  has_head_ = head;
  ISTHMUS_RETURN_IF_ERROR(LoadFront(embedding, head, source));
  for (int64_t layer : layers) ISTHMUS_RETURN_IF_ERROR(LoadBlock(layer, source));
  return head ? LoadBack(source) : absl::OkStatus();
}

absl::StatusOr<TrainedTensor*> Weights::LoadTrained(const TensorInfo& info, bool updated,
                                                    WeightSource* source) {
  ISTHMUS_ASSIGN_OR_RETURN(TrainedTensor * tensor, trained_->Add(info.name, info.shape, updated));
  if (source == nullptr) return tensor;
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor stored, LoadChecked(info, source));
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor values, ToF32(stored));
  std::memcpy(tensor->values.data(), values.data(), static_cast<size_t>(values.num_bytes()));
  DoneReading(stored.bytes());
  return tensor;
}

bool Weights::TrainsCodes(const TensorInfo& info) const {
  const bool shared = shared_embedding_ && info.name == ModelTensors(config_).front().name;
  return train_.full && format_.format == WeightFormat::kInt8 && !shared;
}

absl::StatusOr<Weights::TrainedMatrix> Weights::LoadTrainedMatrix(const TensorInfo& info,
                                                                  bool transposed, bool updated,
                                                                  WeightSource* source) {
  TrainedMatrix matrix;
  if (!TrainsCodes(info)) {
    ISTHMUS_ASSIGN_OR_RETURN(matrix.tensor, LoadTrained(info, updated, source));
    return matrix;
  }
  const StoredOrder order = {info.shape[transposed ? 1 : 0], info.shape[transposed ? 0 : 1],
                             transposed};
  ISTHMUS_ASSIGN_OR_RETURN(matrix.tensor, trained_->AddCodes(info.name, order, updated));
  ISTHMUS_ASSIGN_OR_RETURN(matrix.packed, PackedOf(*matrix.tensor, order));
  if (source == nullptr) return matrix;
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor stored, LoadChecked(info, source));
  ISTHMUS_RETURN_IF_ERROR(trained_->Write(info.name, stored));
  DoneReading(stored.bytes());
  return matrix;
}

absl::StatusOr<const PackedMatrix*> Weights::PackedOf(const TrainedTensor& tensor,
                                                      const StoredOrder& order) {
  if (tensor.codes != nullptr) return &tensor.codes->matrix();
  ISTHMUS_ASSIGN_OR_RETURN(
      PackedMatrix planned,
      PlannedMatrix(order.out, order.in, TrainedCodes::kSpec,
                    LayoutOf(TrainedCodes::kSpec, order.out, order.in).total_bytes));
  packed_.push_back(std::move(planned));
  return &packed_.back();
}

absl::StatusOr<const PackedMatrix*> Weights::Pack(const TensorInfo& info, bool transposed,
                                                  const WeightFormatSpec& spec,
                                                  WeightSource* source) {
  const int64_t out = info.shape[transposed ? 1 : 0], in = info.shape[transposed ? 0 : 1];
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bytes, PackedMatrix::PackedBytes(out, in, spec));
  ISTHMUS_RETURN_IF_ERROR(account_->Take(bytes));
  frozen_bytes_ += bytes;
  if (source == nullptr) {
    ISTHMUS_ASSIGN_OR_RETURN(PackedMatrix planned, PlannedMatrix(out, in, spec, bytes));
    packed_.push_back(std::move(planned));
    return &packed_.back();
  }
  if (const PackedMatrix* held = HeldPacked(source, info.name)) {
    ISTHMUS_CHECK(held->out() == out && held->in() == in && held->spec() == spec);
    packed_.push_back(*held);
    return &packed_.back();
  }
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor stored, LoadChecked(info, source));
  ISTHMUS_ASSIGN_OR_RETURN(Tensor values, ToF32(stored));
  if (transposed) values = Transposed(values);
  ISTHMUS_ASSIGN_OR_RETURN(PackedMatrix packed, PackedMatrix::Pack(values.floats(), out, in, spec));
  packed_.push_back(std::move(packed));
  DoneReading(stored.bytes());
  return &packed_.back();
}

// What stands in front of the blocks, and the tied tensor where only the head is here.
absl::Status Weights::LoadFront(bool embedding, bool head, WeightSource* source) {
  bool first = true;
  for (const TensorInfo& info : ModelTensors(config_)) {
    if (info.layer != -1) continue;
    if (std::exchange(first, false)) {
      ISTHMUS_RETURN_IF_ERROR(LoadTokens(info, embedding, head, source));
    } else if (embedding) {
      ISTHMUS_ASSIGN_OR_RETURN(positions_, LoadTable(info, source));
    }
  }
  return absl::OkStatus();
}

absl::Status Weights::LoadTokens(const TensorInfo& info, bool embedding, bool head,
                                 WeightSource* source) {
  head_.in = config_.hidden_size;
  head_.out = config_.vocab_size;
  const bool tied_head = head && config_.tied_embeddings;
  if (!tied_head) {
    if (!embedding) return absl::OkStatus();
    ISTHMUS_ASSIGN_OR_RETURN(tokens_, LoadTable(info, source));
    if (train_.full && config_.tied_embeddings) tied_ = &trained_->tensors().back();
    return absl::OkStatus();
  }
  tokens_.width = config_.hidden_size;
  if (train_.full) {
    ISTHMUS_ASSIGN_OR_RETURN(
        const TrainedMatrix matrix,
        LoadTrainedMatrix(info, /*transposed=*/false, /*updated=*/true, source));
    tied_ = matrix.tensor;
    if (embedding && first_updated_ > 0) {
      // It learns as the head alone.
      tokens_.trained = {matrix.packed == nullptr ? tied_->values.floats() : nullptr, nullptr};
    } else if (embedding) {
      ISTHMUS_ASSIGN_OR_RETURN(tokens_.trained, trained_->Use(tied_));
    }
    if (embedding) tokens_.packed = matrix.packed;
    head_.packed = matrix.packed;
    ISTHMUS_ASSIGN_OR_RETURN(head_.weight, trained_->Use(tied_));
    return absl::OkStatus();
  }
  ISTHMUS_ASSIGN_OR_RETURN(head_.packed, Pack(info, /*transposed=*/false, outer_format_, source));
  if (embedding) tokens_.packed = head_.packed;
  return absl::OkStatus();
}

absl::StatusOr<RowTable> Weights::LoadTable(const TensorInfo& info, WeightSource* source) {
  RowTable table;
  table.width = info.shape[1];
  if (train_.full) {
    ISTHMUS_ASSIGN_OR_RETURN(
        const TrainedMatrix matrix,
        LoadTrainedMatrix(info, /*transposed=*/false, /*updated=*/first_updated_ == 0, source));
    table.packed = matrix.packed;
    ISTHMUS_ASSIGN_OR_RETURN(table.trained, trained_->Use(matrix.tensor));
    return table;
  }
  if (CodeBits(format_.format) < 16 || HeldPacked(source, info.name) != nullptr) {
    ISTHMUS_ASSIGN_OR_RETURN(table.packed, Pack(info, /*transposed=*/false, outer_format_, source));
    return table;
  }
  const int64_t bytes = info.shape[0] * info.shape[1] * int64_t{sizeof(float)};
  ISTHMUS_RETURN_IF_ERROR(account_->Take(bytes));
  frozen_bytes_ += bytes;
  if (source == nullptr) return table;
  ISTHMUS_ASSIGN_OR_RETURN(table.stored, LoadChecked(info, source));
  return table;
}

absl::Status Weights::LoadBack(WeightSource* source) {
  std::vector<TensorInfo> norm;
  for (const TensorInfo& info : ModelTensors(config_)) {
    if (info.layer != config_.num_layers) continue;
    if (info.shape.size() == 1) {
      norm.push_back(info);
    } else if (train_.full) {
      ISTHMUS_RETURN_IF_ERROR(LoadNorms(norm, {&final_norm_}, source));
      norm.clear();
      ISTHMUS_ASSIGN_OR_RETURN(
          const TrainedMatrix matrix,
          LoadTrainedMatrix(info, /*transposed=*/false, /*updated=*/true, source));
      head_.packed = matrix.packed;
      ISTHMUS_ASSIGN_OR_RETURN(head_.weight, trained_->Use(matrix.tensor));
    } else {
      ISTHMUS_ASSIGN_OR_RETURN(head_.packed,
                               Pack(info, /*transposed=*/false, outer_format_, source));
    }
  }
  return norm.empty() ? absl::OkStatus() : LoadNorms(norm, {&final_norm_}, source);
}

absl::StatusOr<Parameter> Weights::LoadVector(const TensorInfo& info, WeightSource* source) {
  if (train_.full) {
    ISTHMUS_ASSIGN_OR_RETURN(TrainedTensor * tensor,
                             LoadTrained(info, Updates(info.layer), source));
    return trained_->Use(tensor);
  }
  const int64_t bytes = info.shape[0] * int64_t{sizeof(float)};
  Buffer& copy = vectors_.emplace_back();
  ISTHMUS_RETURN_IF_ERROR(copy.Reserve(bytes, account_));
  frozen_bytes_ += bytes;
  if (source == nullptr) return Parameter();
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor stored, LoadChecked(info, source));
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor values, ToF32(stored));
  std::memcpy(copy.data(), values.data(), static_cast<size_t>(bytes));
  return Parameter{copy.floats(), nullptr};
}

// Norm vectors in the model's order: the weight of each, and its bias behind it where there is one.
absl::Status Weights::LoadNorms(absl::Span<const TensorInfo> infos, absl::Span<Norm* const> norms,
                                WeightSource* source) {
  const size_t each = config_.norm == isthmus::Norm::kLayerNorm ? 2 : 1;
  ISTHMUS_CHECK(infos.size() == norms.size() * each);
  for (size_t i = 0; i < norms.size(); ++i) {
    ISTHMUS_ASSIGN_OR_RETURN(norms[i]->weight, LoadVector(infos[i * each], source));
    if (each == 1) continue;
    ISTHMUS_ASSIGN_OR_RETURN(norms[i]->bias, LoadVector(infos[i * each + 1], source));
  }
  return absl::OkStatus();
}

absl::Status Weights::LoadLinear(const LinearName& name, int64_t layer, WeightSource* source,
                                 Linear* linear) {
  linear->in = name.in;
  linear->out = name.out;
  linear->layer = layer;
  linear->module = name.module;
  const std::string prefix = absl::StrCat(BlockPrefix(config_, layer), name.module);
  TensorInfo info{prefix + ".weight", {name.out, name.in}, layer};
  if (config_.transposed_linear) std::swap(info.shape[0], info.shape[1]);
  if (train_.full) {
    linear->transposed = config_.transposed_linear;
    ISTHMUS_ASSIGN_OR_RETURN(
        const TrainedMatrix matrix,
        LoadTrainedMatrix(info, config_.transposed_linear, Updates(layer), source));
    linear->packed = matrix.packed;
    ISTHMUS_ASSIGN_OR_RETURN(linear->weight, trained_->Use(matrix.tensor));
  } else {
    ISTHMUS_ASSIGN_OR_RETURN(linear->packed,
                             Pack(info, config_.transposed_linear, format_, source));
  }
  if (name.bias) {
    ISTHMUS_ASSIGN_OR_RETURN(linear->bias,
                             LoadVector({prefix + ".bias", {name.out}, layer}, source));
  }
  if (train_.full || train_.frozen || !IsLoraTarget(train_.lora, name)) return absl::OkStatus();
  return AddAdapter(name, linear);
}

absl::Status Weights::AddAdapter(const LinearName& name, Linear* linear) {
  const LoraSpec& lora = train_.lora;
  const std::string a = LoraTensorName(config_, linear->layer, name.module, 'A');
  const std::string b = LoraTensorName(config_, linear->layer, name.module, 'B');
  const bool updated = Updates(linear->layer);
  ISTHMUS_ASSIGN_OR_RETURN(TrainedTensor * down, trained_->Add(a, {lora.rank, name.in}, updated));
  ISTHMUS_ASSIGN_OR_RETURN(TrainedTensor * up, trained_->Add(b, {name.out, lora.rank}, updated));
  if (!account_->plans()) {
    DrawLoraA(train_.seed, linear->layer, a, name.in,
              absl::MakeSpan(down->values.floats(), static_cast<size_t>(down->count)));
  }
  ISTHMUS_ASSIGN_OR_RETURN(linear->lora_a, trained_->Use(down));
  ISTHMUS_ASSIGN_OR_RETURN(linear->lora_b, trained_->Use(up));
  linear->rank = lora.rank;
  linear->lora_scale = static_cast<float>(lora.scale());
  return absl::OkStatus();
}

// The trained state is listed in the model's order, so tensors are loaded in it: whatever is not a
// linear map is a norm, the first attention's, the second the feed-forward part's.
absl::Status Weights::LoadBlock(int64_t layer, WeightSource* source) {
  Block& block = blocks_[layer];
  std::vector<Linear*> slots = {&block.q, &block.k, &block.v, &block.out};
  if (config_.fused_qkv) slots = {&block.qkv, &block.out};
  if (config_.feed_forward == FeedForward::kGated) slots.push_back(&block.gate);
  slots.insert(slots.end(), {&block.up, &block.down});
  const std::vector<LinearName> linears = BlockLinears(config_);
  ISTHMUS_CHECK(slots.size() == linears.size());
  std::vector<Norm*> norms = {&block.attention_norm, &block.feed_forward_norm};
  std::vector<TensorInfo> norm;
  const std::string prefix = BlockPrefix(config_, layer);
  for (const TensorInfo& info : ModelTensors(config_)) {
    if (info.layer != layer) continue;
    size_t linear = linears.size();
    for (size_t i = 0; i < linears.size(); ++i) {
      if (absl::StartsWith(info.name, absl::StrCat(prefix, linears[i].module, "."))) linear = i;
    }
    if (linear == linears.size()) {
      norm.push_back(info);
      const size_t each = config_.norm == isthmus::Norm::kLayerNorm ? 2 : 1;
      if (norm.size() < each) continue;
      ISTHMUS_RETURN_IF_ERROR(LoadNorms(norm, {norms.front()}, source));
      norms.erase(norms.begin());
      norm.clear();
    } else if (absl::EndsWith(info.name, ".weight")) {
      ISTHMUS_RETURN_IF_ERROR(LoadLinear(linears[linear], layer, source, slots[linear]));
    }
  }
  ISTHMUS_CHECK(norms.empty());
  return absl::OkStatus();
}

std::vector<const Linear*> Weights::Linears() const {
  std::vector<const Linear*> linears;
  for (const auto& [layer, block] : blocks_) {
    for (const Linear* linear : {&block.qkv, &block.q, &block.k, &block.v, &block.out, &block.gate,
                                 &block.up, &block.down}) {
      if (linear->out > 0) linears.push_back(linear);
    }
  }
  if (has_head_) linears.push_back(&head_);
  return linears;
}

}  // namespace isthmus::edge
