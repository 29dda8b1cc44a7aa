#include "cli/engine.h"

#include "engine/torch/engine.h"

namespace isthmus {

std::vector<Flag> ComputeFlags() {
  return {{.name = "engine",
           .value = "ENGINE",
           .help = "what computes",
           .fallback = "torch",
           .choices = {"torch"}},
          {.name = "threads",
           .kind = FlagKind::kInteger,
           .value = "N",
           .help = "compute threads, 0: chosen",
           .fallback = "0",
           .least = 0,
           .most = 1024},
          {.name = "device",
           .value = "DEVICE",
           .help = "where to compute",
           .fallback = "cpu",
           .choices = {"cpu", "cuda"}}};
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const Invocation& invocation) {
  return MakeTorchEngine(invocation.Text("device"), invocation.Integer("threads"));
}

}  // namespace isthmus
