// The tensors of one party as the blocks see them: frozen matrices packed, trained ones fp32 or
// packed int8 codes, with a gradient, adapters beside their map.
#ifndef ISTHMUS_ENGINE_EDGE_WEIGHTS_H_
#define ISTHMUS_ENGINE_EDGE_WEIGHTS_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/edge/kv_cache.h"
#include "engine/edge/memory.h"
#include "engine/edge/trained.h"
#include "engine/stage.h"
#include "kernels/packed_matrix.h"

namespace isthmus::edge {

// A linear map y = x W^T + b + s (drop(x) A^T) B^T.
struct Linear {
  int64_t in = 0, out = 0;
  const PackedMatrix* packed =
      nullptr;       // frozen, or trained as codes; null: the values of `weight`
  Parameter weight;  // [out, in]; [in, out] when `transposed`
  bool transposed = false;
  Parameter bias;            // [out]; values null: none
  Parameter lora_a, lora_b;  // [rank, in], [out, rank]; values null: no adapter
  int64_t rank = 0;
  float lora_scale = 0.0f;
  int64_t layer = 0;  // with `module`: which dropout mask
  std::string module;
  bool has_adapter() const { return rank > 0; }
  bool trains_adapter() const { return lora_a.gradient != nullptr; }
  bool is_trained() const { return weight.gradient != nullptr || trains_adapter(); }
};

struct Norm {
  Parameter weight;
  Parameter bias;  // LayerNorm only
};

struct Block {
  Norm attention_norm, feed_forward_norm;
  Linear qkv;  // fused_qkv, else
  Linear q, k, v;
  Linear out;
  Linear gate;  // FeedForward::kGated only
  Linear up, down;
};

// Rows that are looked up: token embedding, learned positions. One of the three is there.
struct RowTable {
  int64_t width = 0;
  const PackedMatrix* packed = nullptr;
  Tensor stored;  // frozen, in the dtype of the file: its pages are read when a row is
  Parameter trained;
  bool is_there() const {
    return packed != nullptr || trained.values != nullptr || !stored.empty();
  }
  void Read(int64_t row, float* out) const;
};

class Weights {
 public:
  // Loads what `ranges` need. What would be trained of layers below `first_updated`, and of the
  // embedding in front of them, keeps the values it begins with. `source` null, with an account
  // that plans: everything but the values. `shared_embedding`: another party trains the tied
  // embedding too; it stays fp32, or copies in two formats would part. kInvalidArgument for ranges
  // outside the model, adapter targets that no linear map has, and an unknown format of the base.
  static absl::StatusOr<std::unique_ptr<Weights>> Load(const ModelConfig& config,
                                                       const TrainSpec& train,
                                                       absl::Span<const LayerRange> ranges,
                                                       int64_t first_updated, bool shared_embedding,
                                                       WeightSource* source,
                                                       std::shared_ptr<MemoryAccount> account);

  const ModelConfig& config() const { return config_; }
  const TrainSpec& train() const { return train_; }
  const Block& block(int64_t layer) const { return blocks_.at(layer); }
  const RowTable& tokens() const { return tokens_; }
  const RowTable& positions() const { return positions_; }
  const Norm& final_norm() const { return final_norm_; }
  const Linear& head() const { return head_; }
  TrainedTensors* trained() const { return trained_.get(); }
  // The trained tensor of the tied embedding and head; null when there is none.
  TrainedTensor* tied() const { return tied_; }
  int64_t frozen_bytes() const { return frozen_bytes_; }
  KvFormat kv_format() const { return kv_format_; }
  // Whether anything of the block is trained.
  bool Updates(int64_t layer) const {
    return (train_.full || !train_.frozen) && layer >= first_updated_;
  }
  // Every linear map, for sizes of work space.
  std::vector<const Linear*> Linears() const;

 private:
  Weights(const ModelConfig& config, const TrainSpec& train, int64_t first_updated,
          bool shared_embedding, std::shared_ptr<MemoryAccount> account)
      : config_(config),
        train_(train),
        first_updated_(first_updated),
        shared_embedding_(shared_embedding),
        account_(std::move(account)) {}

  absl::Status LoadAll(absl::Span<const LayerRange> ranges, WeightSource* source);
  absl::Status LoadFront(bool embedding, bool head, WeightSource* source);
  absl::Status LoadBack(WeightSource* source);
  absl::Status LoadTokens(const TensorInfo& info, bool embedding, bool head, WeightSource* source);
  absl::StatusOr<RowTable> LoadTable(const TensorInfo& info, WeightSource* source);
  absl::Status LoadBlock(int64_t layer, WeightSource* source);
  absl::Status LoadLinear(const LinearName& name, int64_t layer, WeightSource* source,
                          Linear* linear);
  absl::Status AddAdapter(const LinearName& name, Linear* linear);
  absl::Status LoadNorms(absl::Span<const TensorInfo> infos, absl::Span<Norm* const> norms,
                         WeightSource* source);
  absl::StatusOr<Parameter> LoadVector(const TensorInfo& info, WeightSource* source);
  absl::StatusOr<const PackedMatrix*> Pack(const TensorInfo& info, bool transposed,
                                           const WeightFormatSpec& spec, WeightSource* source);
  absl::StatusOr<TrainedTensor*> LoadTrained(const TensorInfo& info, bool updated,
                                             WeightSource* source);
  // A matrix that is trained, one that several places use, and how they see it.
  struct TrainedMatrix {
    TrainedTensor* tensor = nullptr;
    const PackedMatrix* packed = nullptr;  // of the codes; null: it is fp32
  };
  absl::StatusOr<TrainedMatrix> LoadTrainedMatrix(const TensorInfo& info, bool transposed,
                                                  bool updated, WeightSource* source);
  absl::StatusOr<const PackedMatrix*> PackedOf(const TrainedTensor& tensor,
                                               const StoredOrder& order);
  bool TrainsCodes(const TensorInfo& info) const;

  const ModelConfig config_;
  TrainSpec train_;
  const int64_t first_updated_;
  const bool shared_embedding_;
  WeightFormatSpec format_;        // of the blocks' packed matrices
  WeightFormatSpec outer_format_;  // of embedding and head: 8 bits where the blocks have fewer
  KvFormat kv_format_ = KvFormat::kFp32;
  const std::shared_ptr<MemoryAccount> account_;
  std::map<int64_t, Block> blocks_;
  RowTable tokens_, positions_;
  Norm final_norm_;
  Linear head_;
  bool has_head_ = false;
  std::unique_ptr<TrainedTensors> trained_;
  TrainedTensor* tied_ = nullptr;
  std::deque<PackedMatrix> packed_;
  std::deque<Buffer> vectors_;
  int64_t frozen_bytes_ = 0;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_WEIGHTS_H_
