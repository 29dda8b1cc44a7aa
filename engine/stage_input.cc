#include "engine/stage_input.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace isthmus {

absl::Status CheckRange(const ModelConfig& config, const LayerRange& range) {
  const bool inside = 0 <= range.first_layer && range.first_layer <= range.last_layer &&
                      range.last_layer <= config.num_layers;
  const bool ends = (!range.embedding || range.first_layer == 0) &&
                    (!range.head || range.last_layer == config.num_layers);
  if (inside && ends) return absl::OkStatus();
  return InvalidArgument("layer range: expected layers inside 0..", config.num_layers,
                         " with the embedding at 0 and the head behind the last, got ",
                         range.first_layer, "..", range.last_layer,
                         range.embedding ? " with embedding" : "", range.head ? " with head" : "",
                         " (plan)");
}

absl::Status CheckIds(const ModelConfig& config, absl::Span<const int32_t> ids) {
  for (int32_t id : ids) {
    if (id >= 0 && id < config.vocab_size) continue;
    return InvalidArgument("id: expected 0..", config.vocab_size - 1, ", got ", id,
                           " (the model's vocabulary)");
  }
  return absl::OkStatus();
}

absl::Status CheckHidden(const ModelConfig& config, const Tensor& tensor, int64_t tokens,
                         const char* what) {
  const Shape expected = {tokens, config.hidden_size};
  if (tensor.dtype() == DType::kF32 && tensor.shape() == expected) return absl::OkStatus();
  return InvalidArgument(what, ": expected F32 ", ToString(expected), ", got ",
                         Name(tensor.dtype()), " ", ToString(tensor.shape()), " (micro-batch)");
}

absl::Status CheckMicroBatch(const ModelConfig& config, const LayerRange& range,
                             const MicroBatch& mb, const Tensor& in) {
  if (mb.lengths.empty() || mb.lengths.size() != mb.samples.size()) {
    return InvalidArgument("lengths: expected one for each of ", mb.samples.size(),
                           " samples and at least one, got ", mb.lengths.size(), " (micro-batch)");
  }
  const int64_t longest =
      config.positions == Positions::kLearned ? config.max_positions : INT32_MAX;
  for (int32_t length : mb.lengths) {
    if (length < 1 || length > longest) {
      return InvalidArgument("length: expected 1..", longest, ", got ", length, " (micro-batch)");
    }
  }
  const int64_t tokens = mb.tokens();
  if (range.embedding) {
    if (static_cast<int64_t>(mb.ids.size()) != tokens) {
      return InvalidArgument("ids: expected ", tokens, ", got ", mb.ids.size(), " (micro-batch)");
    }
    ISTHMUS_RETURN_IF_ERROR(CheckIds(config, mb.ids));
  } else {
    ISTHMUS_RETURN_IF_ERROR(CheckHidden(config, in, tokens, "hidden state"));
  }
  if (!range.head) return absl::OkStatus();
  if (static_cast<int64_t>(mb.targets.size()) != tokens) {
    return InvalidArgument("targets: expected ", tokens, ", got ", mb.targets.size(),
                           " (micro-batch)");
  }
  for (int32_t target : mb.targets) {
    if (target != -100) ISTHMUS_RETURN_IF_ERROR(CheckIds(config, {&target, 1}));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> CheckExtension(const ModelConfig& config, const LayerRange& range,
                                       int64_t cached, absl::Span<const int32_t> ids,
                                       const Tensor& in) {
  const int64_t fresh =
      range.embedding ? static_cast<int64_t>(ids.size()) : (in.shape().empty() ? 0 : in.dim(0));
  if (fresh < 1) return InvalidArgument("positions: expected 1 or more, got none (generation)");
  if (config.positions == Positions::kLearned && cached + fresh > config.max_positions) {
    return InvalidArgument("sequence: expected at most ", config.max_positions, " positions, got ",
                           cached + fresh, " (the model's context)");
  }
  if (range.embedding) {
    ISTHMUS_RETURN_IF_ERROR(CheckIds(config, ids));
  } else {
    ISTHMUS_RETURN_IF_ERROR(CheckHidden(config, in, fresh, "hidden state"));
  }
  return fresh;
}

absl::Status AlreadyKept(uint32_t micro_batch) {
  return absl::FailedPreconditionError(
      absl::StrCat("micro-batch ", micro_batch,
                   ": expected a new one, got one that awaits its backward pass (stage)"));
}

absl::Status NotKept(uint32_t micro_batch, size_t kept) {
  return absl::FailedPreconditionError(
      absl::StrCat("micro-batch ", micro_batch,
                   ": expected one that awaits its backward pass, got none of ", kept, " (stage)"));
}

}  // namespace isthmus
