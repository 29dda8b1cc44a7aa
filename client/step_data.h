// Which windows a training step sees: those of the job's file in the epoch's order, or a caller's
// own.
//
// Threads: the run's.
#ifndef ISTHMUS_CLIENT_STEP_DATA_H_
#define ISTHMUS_CLIENT_STEP_DATA_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "client/batches.h"
#include "client/job.h"
#include "model/dataset.h"

namespace isthmus {

// A caller's own loader in place of data.train. Outlives the run.
class OwnData {
 public:
  virtual ~OwnData() = default;
  // Distinct samples over the whole run, which sizes a codec's sample store; 0: unknown, samples
  // count as new at every visit.
  virtual int64_t num_samples() const { return 0; }
  // The windows of step `step` (1-based; a resumed run begins at a later one); none: the data have
  // ended and the run completes early. An error ends the run with its words.
  virtual absl::StatusOr<std::vector<Window>> Step(int64_t step) = 0;
  // Asked once; none: data.eval, if the job has it.
  virtual absl::StatusOr<std::vector<Window>> Evaluation() { return std::vector<Window>(); }
};

class StepData {
 public:
  virtual ~StepData() = default;
  virtual int64_t num_samples() const = 0;
  virtual int64_t steps_per_epoch() const = 0;  // 0: epochs have no meaning
  // Tokens of the longest window that will come.
  virtual int64_t max_window_tokens() const = 0;
  virtual absl::StatusOr<std::vector<Window>> Step(int64_t step) = 0;

  static std::unique_ptr<StepData> FromFile(std::vector<Window> windows, const Job& job);
  // Checks what comes: kInvalidArgument for ids outside the vocabulary, lengths above
  // `sequence_length`, targets of another length.
  static std::unique_ptr<StepData> FromCaller(OwnData* own, int64_t sequence_length,
                                              int64_t vocab_size);
};

// kInvalidArgument naming `where` for a window that a model of this vocabulary cannot take. Counts
// what is predicted.
absl::Status CheckOwnWindows(int64_t sequence_length, int64_t vocab_size, const std::string& where,
                             std::vector<Window>* windows);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_STEP_DATA_H_
