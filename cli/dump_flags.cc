#include "cli/dump_flags.h"

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

EdgeDumpOptions DumpOf(const Invocation& in) {
  return {in.Text("dump-edges"), in.Integer("dump-steps")};
}

}  // namespace isthmus
