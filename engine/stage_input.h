// What every engine refuses: layer ranges, micro-batches and tensors that do not fit the model.
#ifndef ISTHMUS_ENGINE_STAGE_INPUT_H_
#define ISTHMUS_ENGINE_STAGE_INPUT_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/stage.h"

namespace isthmus {

// All return kInvalidArgument saying what does not fit.
absl::Status CheckRange(const ModelConfig& config, const LayerRange& range);
absl::Status CheckIds(const ModelConfig& config, absl::Span<const int32_t> ids);
// `tensor` is F32 [tokens, hidden_size]; `what` is its name in the message.
absl::Status CheckHidden(const ModelConfig& config, const Tensor& tensor, int64_t tokens,
                         const char* what);
absl::Status CheckMicroBatch(const ModelConfig& config, const LayerRange& range,
                             const MicroBatch& mb, const Tensor& in);
// The input of Stage::Extend behind `cached` positions; returns the number of new ones.
absl::StatusOr<int64_t> CheckExtension(const ModelConfig& config, const LayerRange& range,
                                       int64_t cached, absl::Span<const int32_t> ids,
                                       const Tensor& in);

// Refusals of Forward and Backward over the micro-batches that wait for their backward pass.
absl::Status AlreadyKept(uint32_t micro_batch);
absl::Status NotKept(uint32_t micro_batch, size_t kept);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_STAGE_INPUT_H_
