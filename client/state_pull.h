// StatePull: state tensors of several workers, asked for one after the other and a few ahead, so
// that neither a worker's link nor the client ever holds more than kAheadBytes or one tensor of
// them.
//
// Threads: the client's stage thread.
#ifndef ISTHMUS_CLIENT_STATE_PULL_H_
#define ISTHMUS_CLIENT_STATE_PULL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "isthmus/v1/packet.pb.h"
#include "model/safetensors.h"
#include "pipeline/state_transfer.h"

namespace isthmus {

// A tensor of the trained or the optimizer's state, and the party that is asked for it.
struct StateEntry {
  TensorHeader header;
  bool optimizer = false;
  uint32_t party = 0;
};

class StatePull {
 public:
  // Asks `party` for a tensor by its wire name.
  using Ask = std::function<absl::Status(uint32_t party, const std::string& wire_name)>;

  static constexpr int64_t kAheadBytes = int64_t{16} << 20;
  static constexpr size_t kAheadTensors = 256;  // fewer than the control frames that may wait

  // Entries of the client itself are not asked for.
  StatePull(std::vector<StateEntry> entries, Ask ask);

  const StateEntry& entry(size_t i) const { return entries_[i]; }
  // Asks for entry i and those behind it that fit. Entries are taken in order: i never falls.
  absl::Status AskFrom(size_t i);
  // A part of the oldest tensor that `party` was asked for; kInvalidArgument for anything else.
  absl::Status Add(uint32_t party, const v1::TensorChunk& chunk);
  bool Has(size_t i) const { return arrived_.contains(i); }
  Tensor Take(size_t i);  // Has(i)

 private:
  struct Peer {
    std::deque<size_t> asked;  // entries, oldest first
    TensorAssembly assembly{int64_t{1} << 40};
  };

  const std::vector<StateEntry> entries_;
  const Ask ask_;
  size_t next_ = 0;          // the first entry that was not asked for
  int64_t ahead_bytes_ = 0;  // asked for and not taken
  size_t ahead_tensors_ = 0;
  std::map<uint32_t, Peer> peers_;
  std::map<size_t, Tensor> arrived_;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_STATE_PULL_H_
