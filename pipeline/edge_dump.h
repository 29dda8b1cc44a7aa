// EdgeDump: what a party sends over its edges in training, before encoding, as .npy files. The food
// of `isthmus codec bench --input DIR`.
//
//   DIR/index.jsonl                          a line for every tensor, once its files are whole:
//     {"file":…,"edge":0,"direction":"forward","step":1,"micro_batch":0,"shape":[T,W],
//      "samples":[id,…],"lengths":[tokens,…],"row_ids":FILE or null,"row_ids_shared":false}
//   DIR/edge0_forward_step000001_mb00.npy    '<f4', T x W: rows of the samples one after the other
//   DIR/edge0_forward_step000001_mb00_row_ids.npy   '<i4', T: FrameContext::row_ids, where known
//
// Several parties on one machine may fill one folder. The files hold what the split would keep from
// others (row ids of the first edge are token ids): readable by their owner only. Threads: the
// stage thread.
#ifndef ISTHMUS_PIPELINE_EDGE_DUMP_H_
#define ISTHMUS_PIPELINE_EDGE_DUMP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "compression/codec.h"
#include "engine/stage.h"

namespace isthmus {

struct EdgeDumpOptions {
  std::string directory;  // empty: no dump
  int64_t steps = 4;      // the first that this party takes; the disk holds all of them
};

class EdgeDump {
 public:
  // kInvalidArgument when the folder is there and not empty. Prepare makes it, too.
  static absl::Status Check(const EdgeDumpOptions& options);
  static absl::Status Prepare(const EdgeDumpOptions& options);
  // In a folder that Prepare found fit.
  explicit EdgeDump(EdgeDumpOptions options) : options_(std::move(options)) {}

  // Writes x_TD of a training micro-batch. kResourceExhausted when the disk is full,
  // kAlreadyExists for a tensor that is there (two jobs into one folder).
  absl::Status Keep(const EdgeShape& shape, const MicroBatch& mb, const Tensor& x_TD,
                    absl::Span<const uint32_t> row_ids);

 private:
  absl::Status Append(const std::string& line);

  const EdgeDumpOptions options_;
  std::optional<uint64_t> first_step_;
};

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_EDGE_DUMP_H_
