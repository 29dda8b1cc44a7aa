// The engines of a program, for the commands that compute. Each program links one of engine_full.cc
// (isthmus: LibTorch and the on-device engine) and engine_edge.cc (isthmus-edge: no LibTorch).
#ifndef ISTHMUS_CLI_ENGINE_H_
#define ISTHMUS_CLI_ENGINE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/flags.h"
#include "engine/stage.h"

namespace isthmus {

// Call first thing in main: what an engine wants of its process.
void PrepareProcess(char** argv);

// --engine, --threads, --device and --weights.
std::vector<Flag> ComputeFlags();

// As those flags say. kInvalidArgument naming --device for one that this build, machine or engine
// has not. `kv_cache`: the value of --kv-cache, of commands that generate.
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const Invocation& invocation,
                                                   const std::string& kv_cache = "");

// Flags of both programs.
Flag ThreadsFlag();
Flag WeightsFlag();
Flag KvCacheFlag();

}  // namespace isthmus

#endif  // ISTHMUS_CLI_ENGINE_H_
