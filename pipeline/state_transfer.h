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
#include "pipeline/peer_links.h"

namespace isthmus {

// Sends each tensor as TensorChunk packets of at most 4 MiB; an empty tensor is one empty chunk.
absl::Status SendTensors(PeerLinks* links, uint32_t party, absl::Span<const NamedTensor> tensors);

// Puts chunks together again. Chunks of one tensor come in order and before those of the next;
// sizes are checked before allocation.
class TensorAssembly {
 public:
  explicit TensorAssembly(int64_t max_bytes) : max_bytes_(max_bytes) {}
  absl::Status Add(const v1::TensorChunk& chunk);
  bool complete() const { return pending_bytes_ == 0; }  // no tensor is half there
  std::vector<NamedTensor> Take();                       // kInternal bug if not complete

 private:
  const int64_t max_bytes_;
  int64_t total_bytes_ = 0;
  int64_t pending_bytes_ = 0;
  std::vector<NamedTensor> tensors_;
};

absl::StatusOr<DType> ParseDType(absl::string_view name);

// Names from OptimizerState() and Trained() in one list: "optimizer/…" in front of the former.
std::vector<NamedTensor> JoinState(std::vector<NamedTensor> trained,
                                   std::vector<NamedTensor> optimizer);
void SplitState(std::vector<NamedTensor> all, std::vector<NamedTensor>* trained,
                std::vector<NamedTensor>* optimizer);

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_STATE_TRANSFER_H_
