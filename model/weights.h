// Where the weights of a model come from: a directory on this machine, a peer, or a seed.
#ifndef ISTHMUS_MODEL_WEIGHTS_H_
#define ISTHMUS_MODEL_WEIGHTS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "model/config.h"

namespace isthmus {

// Tensors by name, in the stored dtype and shape. Thread-compatible.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual absl::StatusOr<Tensor> Load(const std::string& name) = 0;
};

// A Hugging Face model directory: config.json, one or many safetensors files, memory-mapped; every
// offset is checked at Open.
class ModelDirectory : public WeightSource {
 public:
  // Checks that every tensor of the architecture is there with its shape. Errors are
  // kInvalidArgument (or kNotFound), one line. With `weights` false only config.json is read (init:
  // random).
  static absl::StatusOr<std::unique_ptr<ModelDirectory>> Open(const std::string& path,
                                                              bool weights = true);

  virtual const ModelConfig& config() const = 0;
  virtual const std::string& path() const = 0;
  virtual DType stored_dtype() const = 0;  // of the block weights
  // How its matrices are packed ("int4g64"); empty: they are not. Load gives plain values all the
  // same.
  virtual std::string packed_format() const { return ""; }
  // Names the content: config and tensor index with a checksum of each tensor. Reads every byte
  // once, then is remembered.
  virtual absl::StatusOr<std::string> ContentId() = 0;
};

// Weights drawn from a seed as Hugging Face initialises them (normal with initializer_range, norms
// 1, biases 0); each tensor from its own counter-based key, so that every party draws its own
// layers alone.
std::unique_ptr<WeightSource> RandomWeights(const ModelConfig& config, uint64_t seed);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_WEIGHTS_H_
