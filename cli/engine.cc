#include "cli/engine.h"

namespace isthmus {

Flag ThreadsFlag() {
  return {.name = "threads",
          .kind = FlagKind::kInteger,
          .value = "N",
          .help = "compute threads, 0: chosen",
          .fallback = "0",
          .least = 0,
          .most = 1024};
}

}  // namespace isthmus
