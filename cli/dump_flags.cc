#include "cli/dump_flags.h"

#include "base/status.h"

namespace isthmus {

std::vector<Flag> DumpFlags() {
  return {{.name = "dump-edges",
           .value = "DIR",
           .help = "keep what is sent over the edges, before encoding, as .npy files; a new or "
                   "empty folder"},
          {.name = "dump-steps",
           .kind = FlagKind::kInteger,
           .value = "N",
           .help = "of the first N training steps",
           .fallback = "4",
           .least = 1,
           .most = 1000000}};
}

absl::StatusOr<EdgeDumpOptions> DumpOf(const Invocation& in) {
  if (in.Given("dump-steps") && !in.Given("dump-edges"))
    return InvalidArgument("--dump-steps: expected --dump-edges beside it, got none");
  return EdgeDumpOptions{in.Text("dump-edges"), in.Integer("dump-steps")};
}

}  // namespace isthmus
