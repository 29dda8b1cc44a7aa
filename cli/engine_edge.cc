// The one engine of `isthmus-edge`.
#include <malloc.h>

#include "cli/engine.h"
#include "engine/edge/engine.h"

namespace isthmus {

// What is freed goes back to the kernel: tensors of a model pass by once, while it is loaded, and
// glibc would otherwise keep room for them (22 MB of 86 on a client with 64 MB planned).
void PrepareProcess(char**) {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 256 << 10);
  mallopt(M_ARENA_MAX, 2);
#endif
}

std::vector<Flag> ComputeFlags() {
  return {{.name = "engine",
           .value = "ENGINE",
           .help = "what computes",
           .fallback = "edge",
           .choices = {"edge"}},
          ThreadsFlag(),
          {.name = "device",
           .value = "DEVICE",
           .help = "where to compute",
           .fallback = "cpu",
           .choices = {"cpu"}},
          WeightsFlag()};
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const Invocation& invocation,
                                                   const std::string& kv_cache) {
  return MakeEdgeEngine(invocation.Integer("threads"), invocation.Text("weights"), kv_cache);
}

}  // namespace isthmus
