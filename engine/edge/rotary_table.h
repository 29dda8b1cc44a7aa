// Cosines and sines of the positions that were seen, computed in double.
#ifndef ISTHMUS_ENGINE_EDGE_ROTARY_TABLE_H_
#define ISTHMUS_ENGINE_EDGE_ROTARY_TABLE_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/edge/memory.h"
#include "model/config.h"

namespace isthmus::edge {

class RotaryTable {
 public:
  explicit RotaryTable(const ModelConfig& config);
  // Room for positions 0 .. positions - 1; nothing to do without rotary positions.
  absl::Status Reserve(int64_t positions, const std::shared_ptr<MemoryAccount>& account);
  const float* cos(int64_t position) const { return table_.floats() + 2 * position * half_; }
  const float* sin(int64_t position) const { return cos(position) + half_; }
  static int64_t BytesFor(const ModelConfig& config, int64_t positions);

 private:
  std::vector<double> frequencies_;
  int64_t half_ = 0;
  int64_t positions_ = 0;
  Buffer table_;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_ROTARY_TABLE_H_
