#include "client/state_pull.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "pipeline/plan.h"

namespace isthmus {
namespace {

int64_t BytesOf(const TensorHeader& header) {
  int64_t bytes = SizeOf(header.dtype);
  for (const int64_t d : header.shape) bytes *= d;
  return bytes;
}

}  // namespace

StatePull::StatePull(std::vector<StateEntry> entries, Ask ask)
    : entries_(std::move(entries)), ask_(std::move(ask)) {}

absl::Status StatePull::AskFrom(size_t i) {
  for (; next_ < entries_.size(); ++next_) {
    const StateEntry& entry = entries_[next_];
    if (entry.party == kClientParty) continue;
    const int64_t bytes = BytesOf(entry.header);
    const bool fits = ahead_bytes_ + bytes <= kAheadBytes && ahead_tensors_ < kAheadTensors;
    if (next_ > i && !fits) break;
    ISTHMUS_RETURN_IF_ERROR(
        ask_(entry.party, StateName{entry.optimizer, entry.header.name}.Wire()));
    peers_[entry.party].asked.push_back(next_);
    ahead_bytes_ += bytes;
    ++ahead_tensors_;
  }
  return absl::OkStatus();
}

absl::Status StatePull::Add(uint32_t party, const v1::TensorChunk& chunk) {
  Peer& peer = peers_[party];
  if (peer.asked.empty())
    return InvalidArgument("state: expected no tensor, got ", chunk.name(), " (not asked for)");
  const size_t i = peer.asked.front();
  const TensorHeader& wanted = entries_[i].header;
  const std::string name = StateName{entries_[i].optimizer, wanted.name}.Wire();
  if (!chunk.error().empty()) return NotFound(chunk.error());
  ISTHMUS_ASSIGN_OR_RETURN(const TensorHeader got, HeaderOf(chunk));
  if (got.name != name || got.dtype != wanted.dtype || got.shape != wanted.shape)
    return InvalidArgument("state: expected ", name, " ", Name(wanted.dtype), " ",
                           ToString(wanted.shape), ", got ", got.name, " ", Name(got.dtype), " ",
                           ToString(got.shape));
  ISTHMUS_RETURN_IF_ERROR(peer.assembly.Add(chunk));
  if (!peer.assembly.complete()) return absl::OkStatus();
  arrived_[i] = std::move(peer.assembly.Take().front().tensor);
  peer.asked.pop_front();
  return absl::OkStatus();
}

Tensor StatePull::Take(size_t i) {
  const auto it = arrived_.find(i);
  ISTHMUS_CHECK(it != arrived_.end());
  Tensor tensor = std::move(it->second);
  arrived_.erase(it);
  ahead_bytes_ -= BytesOf(entries_[i].header);
  --ahead_tensors_;
  return tensor;
}

}  // namespace isthmus
