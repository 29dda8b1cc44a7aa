// What `--dump-edges` left (pipeline/edge_dump.h has the format), read back by edge and direction.
#ifndef ISTHMUS_CLI_DUMP_FOLDER_H_
#define ISTHMUS_CLI_DUMP_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compression/codec_measure.h"

namespace isthmus {

struct DumpedEdge {
  std::string name;  // "edge 0 forward"
  CapturedEdge capture;
};

// True for a folder with an index.
bool IsDumpFolder(const std::string& path);

// By edge, forward first. Activations of a later edge without row ids get those of the first.
// kInvalidArgument names the line or the file that is wrong.
absl::StatusOr<std::vector<DumpedEdge>> ReadDumpFolder(const std::string& path);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_DUMP_FOLDER_H_
