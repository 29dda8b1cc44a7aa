// The engine that computes a device's part.
#ifndef ISTHMUS_CLIENT_SDK_ENGINE_H_
#define ISTHMUS_CLIENT_SDK_ENGINE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/stage.h"

namespace isthmus {

// `threads` 0: chosen.
absl::StatusOr<std::unique_ptr<Engine>> MakeDeviceEngine(int64_t threads);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_SDK_ENGINE_H_
