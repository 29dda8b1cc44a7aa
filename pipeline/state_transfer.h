// Tensors over a control link, in chunks: trained state, optimizer state, weights that a worker
// lacks.
#ifndef ISTHMUS_PIPELINE_STATE_TRANSFER_H_
#define ISTHMUS_PIPELINE_STATE_TRANSFER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "isthmus/v1/packet.pb.h"
#include "model/safetensors.h"
#include "pipeline/peer_links.h"

namespace isthmus {

// Sends a tensor as TensorChunk packets of at most 4 MiB; an empty tensor is one empty chunk.
absl::Status SendTensor(PeerLinks* links, uint32_t party, const NamedTensor& tensor);
// Says what there is: a chunk without bytes.
absl::Status SendTensorHeader(PeerLinks* links, uint32_t party, const TensorHeader& header);
absl::StatusOr<TensorHeader> HeaderOf(const v1::TensorChunk& chunk);

// Puts chunks together again. Chunks of one tensor come in order and before those of the next;
// sizes are checked before allocation.
class TensorAssembly {
 public:
  explicit TensorAssembly(int64_t max_bytes) : max_bytes_(max_bytes) {}
  absl::Status Add(const v1::TensorChunk& chunk);
  bool complete() const { return pending_bytes_ == 0; }  // no tensor is half there
  std::vector<NamedTensor> Take();  // what came since the last call; only when complete

 private:
  const int64_t max_bytes_;
  int64_t total_bytes_ = 0;
  int64_t pending_bytes_ = 0;
  std::vector<NamedTensor> tensors_;
};

absl::StatusOr<DType> ParseDType(absl::string_view name);

// A tensor of Trained() or OptimizerState() as it is called on the wire: "optimizer/..." in front
// of the latter.
struct StateName {
  bool optimizer = false;
  std::string name;

  std::string Wire() const;
  static StateName Parse(absl::string_view wire);
};

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_STATE_TRANSFER_H_
