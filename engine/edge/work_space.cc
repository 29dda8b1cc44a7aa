#include "engine/edge/work_space.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace isthmus::edge {

// Blocks and head take turns.
Work Work::Carve(Carver* carver, const Weights& weights, bool head, int64_t tokens, int64_t longest,
                 int threads) {
  Work work;
  work.rows = carver->Floats(tokens * weights.config().hidden_size);
  const int64_t shared = carver->used();
  work.block = BlockWork::Carve(carver, weights, tokens, longest, threads);
  carver->Rewind(carver->peak());
  work.kept = BlockKept::Carve(carver, weights.config(), tokens);
  if (!head) return work;
  carver->Rewind(shared);
  work.head = HeadWork::Carve(carver, weights, threads);
  return work;
}

WorkSpace::WorkSpace(const Weights* weights, bool head, int threads,
                     std::shared_ptr<MemoryAccount> account)
    : weights_(weights),
      head_(head),
      account_(std::move(account)),
      pool_(threads),
      rotary_(weights->config()),
      tensors_(std::make_shared<TensorPool>(account_)) {}

absl::Status WorkSpace::Reserve(int64_t tokens, int64_t longest) {
  if (tokens <= tokens_ && longest <= longest_) return absl::OkStatus();
  tokens = std::max(tokens, tokens_);
  longest = std::max(longest, longest_);
  Carver sizes(nullptr);
  Work::Carve(&sizes, *weights_, head_, tokens, longest, pool_.threads());
  ISTHMUS_RETURN_IF_ERROR(memory_.Reserve(sizes.peak(), account_));
  ISTHMUS_RETURN_IF_ERROR(rotary_.Reserve(longest, account_));
  Carver carver(memory_.data());
  work_ = Work::Carve(&carver, *weights_, head_, tokens, longest, pool_.threads());
  tokens_ = tokens;
  longest_ = longest;
  return absl::OkStatus();
}

}  // namespace isthmus::edge
