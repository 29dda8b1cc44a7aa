// The engines of `isthmus`.
#include "base/status.h"
#include "cli/engine.h"
#include "engine/edge/engine.h"
#include "engine/torch/engine.h"
#include "engine/torch/environment.h"

namespace isthmus {

void PrepareProcess(char** argv) { TuneProcess(argv); }

std::vector<Flag> ComputeFlags() {
  return {{.name = "engine",
           .value = "ENGINE",
           .help = "what computes: LibTorch, or the on-device engine",
           .fallback = "torch",
           .choices = {"torch", "edge"}},
          ThreadsFlag(),
          {.name = "device",
           .value = "DEVICE",
           .help = "where to compute",
           .fallback = "cpu",
           .choices = {"cpu", "cuda"}},
          WeightsFlag()};
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const Invocation& invocation,
                                                   const std::string& kv_cache) {
  if (invocation.Text("engine") == "torch") {
    if (invocation.Given("weights"))
      return InvalidArgument("--weights: expected --engine edge beside it, got torch");
    if (!kv_cache.empty())
      return InvalidArgument("--kv-cache: expected --engine edge beside it, got torch");
    return MakeTorchEngine(invocation.Text("device"), invocation.Integer("threads"));
  }
  if (invocation.Text("device") != "cpu")
    return InvalidArgument("--device: expected cpu with --engine edge, got ",
                           invocation.Text("device"));
  return MakeEdgeEngine(invocation.Integer("threads"), invocation.Text("weights"), kv_cache);
}

}  // namespace isthmus
