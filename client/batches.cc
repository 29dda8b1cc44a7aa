#include "client/batches.h"

#include <algorithm>
#include <utility>

namespace isthmus {

std::vector<int64_t> StepWindows::Of(int64_t step) {
  const int64_t epoch = (step - 1) / steps_per_epoch();
  if (epoch != epoch_) {
    order_ = EpochOrder(num_windows_, shuffle_, seed_, epoch);
    epoch_ = epoch;
  }
  const int64_t begin = (step - 1) % steps_per_epoch() * per_step_;
  const int64_t end = std::min(begin + per_step_, num_windows_);
  return {order_.begin() + begin, order_.begin() + end};
}

WindowBatches::WindowBatches(const std::vector<Window>& windows, std::vector<int64_t> chosen,
                             int64_t micro_batch_size)
    : windows_(windows), chosen_(std::move(chosen)), size_(static_cast<size_t>(micro_batch_size)) {}

int64_t WindowBatches::tokens() const {
  int64_t n = 0;
  for (const int64_t i : chosen_)
    n += static_cast<int64_t>(windows_[static_cast<size_t>(i)].inputs.size());
  return n;
}

int64_t WindowBatches::predicted() const {
  int64_t n = 0;
  for (const int64_t i : chosen_) n += windows_[static_cast<size_t>(i)].num_predicted;
  return n;
}

const MicroBatch& WindowBatches::Batch(uint32_t micro_batch) {
  const auto [it, fresh] = made_.try_emplace(micro_batch);
  MicroBatch& mb = it->second;
  if (!fresh) return mb;
  // A pass goes forward: what lies far behind is not asked for again (an evaluation may have a
  // million micro-batches).
  if (made_.size() > 4096) made_.erase(made_.begin());
  const size_t begin = micro_batch * size_, end = std::min(begin + size_, chosen_.size());
  for (size_t i = begin; i < end; ++i) {
    const Window& window = windows_[static_cast<size_t>(chosen_[i])];
    mb.samples.push_back(window.sample);
    mb.lengths.push_back(static_cast<int32_t>(window.inputs.size()));
    mb.ids.insert(mb.ids.end(), window.inputs.begin(), window.inputs.end());
    mb.targets.insert(mb.targets.end(), window.targets.begin(), window.targets.end());
  }
  return mb;
}

}  // namespace isthmus
