#include "client/generate.h"

#include <algorithm>

#include "base/clock.h"
#include "base/status.h"

namespace isthmus {
namespace {

absl::Status CheckPrompt(const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  if (prompt.empty()) {
    return InvalidArgument("--prompt: expected a text of at least one token, got none");
  }
  const int64_t size = static_cast<int64_t>(prompt.size());
  if (size > options.max_positions) {
    return InvalidArgument("--prompt: expected at most ", options.max_positions,
                           " tokens (the model's context), got ", size);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Generation> Generate(LogitsSource* source, const std::vector<int32_t>& prompt,
                                    const GenerateOptions& options,
                                    const std::function<bool(int32_t)>& on_id) {
  ISTHMUS_RETURN_IF_ERROR(CheckPrompt(prompt, options));
  Generation out;
  out.ids = prompt;
  std::vector<int32_t> fresh = prompt;  // what the source has not seen
  const int64_t start_us = NowUs();
  while (out.num_new < options.max_new_tokens) {
    if (static_cast<int64_t>(out.ids.size()) >= options.max_positions + 1) {
      out.end = Generation::End::kContext;
      break;
    }
    ISTHMUS_ASSIGN_OR_RETURN(const Tensor logits, source->Extend(fresh));
    const int64_t position = static_cast<int64_t>(out.ids.size());
    ISTHMUS_ASSIGN_OR_RETURN(const int32_t id,
                             SampleId(logits.floats(), options.sampler, position));
    out.ids.push_back(id);
    ++out.num_new;
    fresh = {id};
    const bool goes_on = on_id(id);
    const auto& eos = options.eos_ids;
    if (std::find(eos.begin(), eos.end(), id) != eos.end()) {
      out.end = Generation::End::kEos;
      break;
    }
    if (!goes_on) {
      out.end = Generation::End::kStopped;
      break;
    }
  }
  out.seconds = static_cast<double>(NowUs() - start_us) * 1e-6;
  return out;
}

}  // namespace isthmus
