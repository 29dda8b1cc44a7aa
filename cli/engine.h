// The engine of this build, for the commands that compute.
#ifndef ISTHMUS_CLI_ENGINE_H_
#define ISTHMUS_CLI_ENGINE_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/flags.h"
#include "engine/stage.h"

namespace isthmus {

// --threads and --device.
std::vector<Flag> ComputeFlags();

// As those flags say. kInvalidArgument naming --device for one that this build or machine has not.
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const Invocation& invocation);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_ENGINE_H_
