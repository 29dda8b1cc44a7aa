#include "client/sdk/batch.h"

#include <utility>

#include "client/sdk/call.h"

namespace isthmus {
namespace {

absl::StatusOr<std::vector<Window>> Ask(isthmus_batch_fn callback, const char* name, void* user,
                                        int64_t step) {
  isthmus_batch batch;
  if (const int returned = callback(user, step, &batch); returned != 0)
    return CallbackError(name, returned);
  return std::move(batch.windows);
}

}  // namespace

absl::StatusOr<std::vector<Window>> CallbackData::Step(int64_t step) {
  return Ask(batches_, "batches", user_, step);
}

absl::StatusOr<std::vector<Window>> CallbackData::Evaluation() {
  if (evaluation_ == nullptr) return std::vector<Window>();
  return Ask(evaluation_, "evaluation", user_, 0);
}

}  // namespace isthmus

isthmus_status isthmus_batch_add(isthmus_batch* batch, const int32_t* ids, const int32_t* targets,
                                 size_t count, uint64_t sample) {
  return isthmus::Call("isthmus_batch_add", [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(isthmus::NotNull(batch, ids));
    const size_t least = targets == nullptr ? 2 : 1;
    if (count < least)
      return isthmus::InvalidArgument("expected at least ", least, " ids, got ", count);
    isthmus::Window window;
    window.sample = sample;
    const size_t places = targets == nullptr ? count - 1 : count;
    window.inputs.assign(ids, ids + places);
    const int32_t* wanted = targets == nullptr ? ids + 1 : targets;
    window.targets.assign(wanted, wanted + places);
    batch->windows.push_back(std::move(window));
    return absl::OkStatus();
  });
}
