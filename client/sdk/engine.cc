#include "client/sdk/engine.h"

#include "engine/torch/engine.h"

namespace isthmus {

absl::StatusOr<std::unique_ptr<Engine>> MakeDeviceEngine(int64_t threads) {
  return MakeTorchEngine("cpu", threads);
}

}  // namespace isthmus
