// Where a worker finds the weights of its layers: its own model root, its cache, else the client,
// tensor by tensor.
#ifndef ISTHMUS_WORKER_WEIGHTS_H_
#define ISTHMUS_WORKER_WEIGHTS_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/stage.h"
#include "isthmus/v1/plan.pb.h"
#include "model/weights.h"

namespace isthmus {

struct WeightPlaces {
  std::string model_root;         // itself and its direct subfolders are looked at; "": none
  std::string cache_dir;          // "": no cache
  int64_t cache_limit_bytes = 0;  // least recently used tensors go first; 0: no limit
};

// Asks the client for one tensor. On the stage thread.
using FetchTensor = std::function<absl::StatusOr<Tensor>(const std::string& name)>;

// The directory under `model_root` with this content that `engine` computes from, or null.
absl::StatusOr<std::unique_ptr<ModelDirectory>> FindModel(const std::string& model_root,
                                                          const v1::ModelRef& model,
                                                          Engine* engine);

// Never fails for a missing model: then tensors come from the cache or through `fetch`, and are
// kept in the cache.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenWeights(const v1::ModelRef& model,
                                                          const ModelConfig& config,
                                                          const WeightPlaces& places,
                                                          Engine* engine, FetchTensor fetch);

}  // namespace isthmus

#endif  // ISTHMUS_WORKER_WEIGHTS_H_
