// A model directory whose matrices are packed in a low-bit format: what `isthmus quantize` makes
// and the on-device engine maps into memory.
//
//   config.json, tokenizer files    as in the model it was made from
//   packed.safetensors              the safetensors format. Matrices first: U8 tensors of the bytes
//   of
//                                   a PackedMatrix, each a multiple of 64 bytes; then the other
//                                   tensors as they were. Metadata: "format" = "isthmus-packed-1",
//                                   and for every matrix its name = "FORMAT OUT IN" ("int4g64 2048
//                                   2048")
//
// Matrices are [out, in], also where the model stores them transposed (GPT-2). All of the blocks
// have one format, embedding and head its OuterFormat. The pages are shared by all processes that
// map the file.
#ifndef ISTHMUS_ENGINE_EDGE_PACKED_MODEL_H_
#define ISTHMUS_ENGINE_EDGE_PACKED_MODEL_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/packed_matrix.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace isthmus {

// What a file in that format holds. kInvalidArgument for bytes that are not one: every offset, size
// and format is checked.
struct PackedTensors {
  std::map<std::string, PackedMatrix> matrices;
  std::map<std::string, Tensor> tensors;
};
absl::StatusOr<PackedTensors> ParsePackedTensors(const Safetensors& file, const std::string& where);

// Embedding and head keep 8 bits per channel below formats of fewer than 16: their error reaches
// every logit, and they are looked up and multiplied once, not once per layer.
WeightFormatSpec OuterFormat(const WeightFormatSpec& format);

class PackedModel : public ModelDirectory {
 public:
  // True where `directory` holds a packed.safetensors.
  static bool IsPacked(const std::string& directory);
  // Checks that every tensor of the architecture is there with its shape and format.
  static absl::StatusOr<std::unique_ptr<PackedModel>> Open(const std::string& directory);

  const ModelConfig& config() const override { return config_; }
  const std::string& path() const override { return path_; }
  DType stored_dtype() const override { return DType::kF32; }  // what Load gives
  std::string packed_format() const override { return WeightFormatText(format_); }
  // Of the packed bytes: another one than that of the model it was made from.
  absl::StatusOr<std::string> ContentId() override;
  // Null: that tensor is not packed.
  const PackedMatrix* Find(const std::string& name) const;
  // The tensor as a plain model directory would give it: packed ones dequantised to fp32.
  absl::StatusOr<Tensor> Load(const std::string& name) override;

 private:
  PackedModel(std::string path, ModelConfig config, const WeightFormatSpec& format,
              PackedTensors contents)
      : path_(std::move(path)),
        config_(std::move(config)),
        format_(format),
        contents_(std::move(contents)) {}

  const std::string path_;
  const ModelConfig config_;
  const WeightFormatSpec format_;  // of the blocks' matrices
  const PackedTensors contents_;
  std::string content_id_;
};

// Who chooses the codes of the blocks' matrices: asked for each of them, in the model's order. The
// matrix is in the format of the call.
using BlockRounding = std::function<absl::StatusOr<PackedMatrix>(const TensorInfo& info)>;

// Packs the model directory `from` into the new folder `out`, rounding to nearest what `rounding`
// (may be null) does not. kInvalidArgument for a model that cannot be read and an `out` in use.
absl::Status QuantizeModel(const std::string& from, const std::string& out,
                           const WeightFormatSpec& spec, const BlockRounding& rounding = nullptr);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_EDGE_PACKED_MODEL_H_
