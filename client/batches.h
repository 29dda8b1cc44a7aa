// Which windows make up a step, and the micro-batches of a pass.
#ifndef ISTHMUS_CLIENT_BATCHES_H_
#define ISTHMUS_CLIENT_BATCHES_H_

#include <cstdint>
#include <map>
#include <vector>

#include "model/dataset.h"
#include "pipeline/stage_runner.h"

namespace isthmus {

// Order of the windows over the whole run: epochs of micro_batch_size x micro_batches windows a
// step; an epoch's last step takes what is left. A pure function of its arguments, so that a
// resumed run sees the same.
class StepWindows {
 public:
  StepWindows(int64_t num_windows, int64_t windows_per_step, bool shuffle, uint64_t seed)
      : num_windows_(num_windows), per_step_(windows_per_step), shuffle_(shuffle), seed_(seed) {}
  int64_t steps_per_epoch() const { return (num_windows_ + per_step_ - 1) / per_step_; }
  // Indices of the windows of step `step` (1-based).
  std::vector<int64_t> Of(int64_t step);

 private:
  const int64_t num_windows_, per_step_;
  const bool shuffle_;
  const uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

// Micro-batches of `micro_batch_size` windows each, the last of what is left, made when they are
// asked for.
class WindowBatches : public BatchSource {
 public:
  // `windows` outlives it.
  WindowBatches(const std::vector<Window>& windows, std::vector<int64_t> chosen,
                int64_t micro_batch_size);
  uint32_t micro_batches() const {
    return static_cast<uint32_t>((chosen_.size() + size_ - 1) / size_);
  }
  int64_t tokens() const;
  int64_t predicted() const;
  const MicroBatch& Batch(uint32_t micro_batch) override;

 private:
  const std::vector<Window>& windows_;
  const std::vector<int64_t> chosen_;
  const size_t size_;
  std::map<uint32_t, MicroBatch> made_;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_BATCHES_H_
