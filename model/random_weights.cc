// Weights drawn from a seed, as Hugging Face initialises its models.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <new>

#include "absl/strings/match.h"
#include "base/rng.h"
#include "base/status.h"
#include "model/architecture.h"
#include "model/weights.h"

namespace isthmus {
namespace {

enum class Fill : uint8_t { kZero, kOne, kNormal };

class SeededWeights : public WeightSource {
 public:
  SeededWeights(const ModelConfig& config, uint64_t seed) : config_(config), seed_(seed) {
    for (TensorInfo& info : ModelTensors(config)) shapes_[info.name] = std::move(info.shape);
  }

  absl::StatusOr<Tensor> Load(const std::string& name) override {
    const auto it = shapes_.find(name);
    if (it == shapes_.end()) {
      return NotFound("tensor \"", name, "\": expected in the model, got nothing (init: random)");
    }
    ISTHMUS_ASSIGN_OR_RETURN(Tensor tensor, Allocate(name, it->second));
    auto* values = static_cast<float*>(const_cast<void*>(tensor.data()));
    const int64_t n = tensor.num_elements();
    const Fill fill = FillOf(name, it->second);
    if (fill != Fill::kNormal) {
      std::fill(values, values + n, fill == Fill::kOne ? 1.0f : 0.0f);
      return tensor;
    }
    const double deviation = Deviation(name);
    CounterRng rng(RandomKey(seed_, absl::StrCat("init/", name)));
    for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(deviation * rng.NextNormal());
    return tensor;
  }

 private:
  // The sizes come from a file, so that memory may well end: a Status, not a crash.
  static absl::StatusOr<Tensor> Allocate(const std::string& name, const Shape& shape) {
    uint64_t n = 1;
    for (int64_t size : shape) n *= static_cast<uint64_t>(size);  // bounded by kMax…: no overflow
    // More than the machine has would be granted (Linux overcommits) and end the process on first
    // touch.
    const uint64_t memory = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                            static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
    float* values = n > memory / sizeof(float) ? nullptr : new (std::nothrow) float[n];
    if (values == nullptr) {
      return ResourceExhausted("tensor \"", name, "\": expected memory for ", ToString(shape),
                               ", got none (init: random)");
    }
    std::shared_ptr<const void> owner(values, [](const float* p) { delete[] p; });
    return Tensor::View(DType::kF32, shape, values, std::move(owner));
  }

  static Fill FillOf(const std::string& name, const Shape& shape) {
    if (absl::EndsWith(name, ".bias")) return Fill::kZero;
    return shape.size() == 1 ? Fill::kOne : Fill::kNormal;  // norms are the only vectors left
  }

  double Deviation(const std::string& name) const {
    const absl::string_view scaled = ArchitectureOf(config_).scaled_init;
    if (scaled.empty() || !absl::EndsWith(name, scaled)) return config_.initializer_range;
    return config_.initializer_range / std::sqrt(2.0 * static_cast<double>(config_.num_layers));
  }

  ModelConfig config_;
  uint64_t seed_;
  std::map<std::string, Shape> shapes_;
};

}  // namespace

std::unique_ptr<WeightSource> RandomWeights(const ModelConfig& config, uint64_t seed) {
  return std::make_unique<SeededWeights>(config, seed);
}

}  // namespace isthmus
