#include "client/step_data.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace isthmus {
namespace {

class FileData : public StepData {
 public:
  FileData(std::vector<Window> windows, const Job& job)
      : windows_(std::move(windows)),
        order_(static_cast<int64_t>(windows_.size()),
               job.train.micro_batch_size * job.train.micro_batches, job.data.shuffle,
               job.train.seed) {}

  int64_t num_samples() const override { return static_cast<int64_t>(windows_.size()); }
  int64_t steps_per_epoch() const override { return order_.steps_per_epoch(); }
  int64_t max_window_tokens() const override {
    size_t longest = 0;
    for (const Window& window : windows_) longest = std::max(longest, window.inputs.size());
    return static_cast<int64_t>(longest);
  }
  absl::StatusOr<std::vector<Window>> Step(int64_t step) override {
    std::vector<Window> chosen;
    for (const int64_t i : order_.Of(step)) chosen.push_back(windows_[static_cast<size_t>(i)]);
    return chosen;
  }

 private:
  const std::vector<Window> windows_;
  StepWindows order_;
};

class CallerData : public StepData {
 public:
  CallerData(OwnData* own, int64_t sequence_length, int64_t vocab_size)
      : own_(own), sequence_length_(sequence_length), vocab_size_(vocab_size) {}

  int64_t num_samples() const override { return own_->num_samples(); }
  int64_t steps_per_epoch() const override { return 0; }
  int64_t max_window_tokens() const override { return sequence_length_; }
  absl::StatusOr<std::vector<Window>> Step(int64_t step) override {
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<Window> windows, own_->Step(step));
    ISTHMUS_RETURN_IF_ERROR(CheckOwnWindows(sequence_length_, vocab_size_,
                                            absl::StrCat("batch of step ", step), &windows));
    return windows;
  }

 private:
  OwnData* const own_;
  const int64_t sequence_length_, vocab_size_;
};

absl::Status CheckWindow(int64_t sequence_length, int64_t vocab_size, Window* window) {
  const auto length = static_cast<int64_t>(window->inputs.size());
  if (length < 1 || length > sequence_length)
    return InvalidArgument("expected 1 to ", sequence_length, " ids a sample, got ", length);
  if (window->targets.size() != window->inputs.size())
    return InvalidArgument("expected a target for each of ", length, " ids, got ",
                           window->targets.size());
  window->num_predicted = 0;
  for (size_t i = 0; i < window->inputs.size(); ++i) {
    const int32_t id = window->inputs[i], target = window->targets[i];
    if (id < 0 || id >= vocab_size)
      return InvalidArgument("expected ids from 0 to ", vocab_size - 1, ", got ", id);
    if (target != -100 && (target < 0 || target >= vocab_size))
      return InvalidArgument("expected targets from 0 to ", vocab_size - 1,
                             ", or -100 for none, got ", target);
    window->num_predicted += target != -100 ? 1 : 0;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOwnWindows(int64_t sequence_length, int64_t vocab_size, const std::string& where,
                             std::vector<Window>* windows) {
  int64_t predicted = 0;
  for (size_t i = 0; i < windows->size(); ++i) {
    if (absl::Status status = CheckWindow(sequence_length, vocab_size, &(*windows)[i]);
        !status.ok())
      return absl::Status(status.code(),
                          absl::StrCat(where, ": ", status.message(), " (sample ", i, " of it)"));
    predicted += (*windows)[i].num_predicted;
  }
  if (!windows->empty() && predicted == 0)
    return InvalidArgument(where, ": expected a target that is predicted, got none");
  return absl::OkStatus();
}

std::unique_ptr<StepData> StepData::FromFile(std::vector<Window> windows, const Job& job) {
  return std::make_unique<FileData>(std::move(windows), job);
}

std::unique_ptr<StepData> StepData::FromCaller(OwnData* own, int64_t sequence_length,
                                               int64_t vocab_size) {
  return std::make_unique<CallerData>(own, sequence_length, vocab_size);
}

}  // namespace isthmus
