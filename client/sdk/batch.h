// The samples that a caller's callback adds.
#ifndef ISTHMUS_CLIENT_SDK_BATCH_H_
#define ISTHMUS_CLIENT_SDK_BATCH_H_

#include <vector>

#include "client/sdk/isthmus.h"
#include "client/step_data.h"

struct isthmus_batch {
  std::vector<isthmus::Window> windows;
};

namespace isthmus {

// A caller's callbacks as a run's data.
class CallbackData : public OwnData {
 public:
  CallbackData(isthmus_batch_fn batches, isthmus_batch_fn evaluation, void* user,
               int64_t num_samples)
      : batches_(batches), evaluation_(evaluation), user_(user), num_samples_(num_samples) {}

  int64_t num_samples() const override { return num_samples_; }
  absl::StatusOr<std::vector<Window>> Step(int64_t step) override;
  absl::StatusOr<std::vector<Window>> Evaluation() override;

 private:
  const isthmus_batch_fn batches_, evaluation_;
  void* const user_;
  const int64_t num_samples_;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_SDK_BATCH_H_
