// The flags by which a party keeps what it sends over its edges.
#ifndef ISTHMUS_CLI_DUMP_FLAGS_H_
#define ISTHMUS_CLI_DUMP_FLAGS_H_

#include <vector>

#include "cli/flags.h"
#include "pipeline/edge_dump.h"

namespace isthmus {

std::vector<Flag> DumpFlags();
// kInvalidArgument for --dump-steps alone.
absl::StatusOr<EdgeDumpOptions> DumpOf(const Invocation& in);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_DUMP_FLAGS_H_
