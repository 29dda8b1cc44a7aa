#include "engine/edge/rotary_table.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "engine/rotary_angles.h"

namespace isthmus::edge {

RotaryTable::RotaryTable(const ModelConfig& config) {
  if (config.positions != Positions::kRope) return;
  frequencies_ = RotaryFrequencies(config);
  half_ = static_cast<int64_t>(frequencies_.size());
}

int64_t RotaryTable::BytesFor(const ModelConfig& config, int64_t positions) {
  return config.positions == Positions::kRope ? positions * config.head_dim * 4 : 0;
}

absl::Status RotaryTable::Reserve(int64_t positions,
                                  const std::shared_ptr<MemoryAccount>& account) {
  if (half_ == 0 || positions <= positions_) return absl::OkStatus();
  // A sequence that grows by one token at a time doubles the table.
  const int64_t rows = positions_ == 0 ? positions : std::max(positions, 2 * positions_);
  ISTHMUS_RETURN_IF_ERROR(table_.Reserve(rows * 2 * half_ * 4, account));
  positions_ = rows;
  if (account->plans()) return absl::OkStatus();
  for (int64_t position = 0; position < rows; ++position) {
    float* row = table_.floats() + 2 * position * half_;
    for (int64_t i = 0; i < half_; ++i) {
      const double angle = static_cast<double>(position) * frequencies_[static_cast<size_t>(i)];
      row[i] = static_cast<float>(std::cos(angle));
      row[half_ + i] = static_cast<float>(std::sin(angle));
    }
  }
  return absl::OkStatus();
}

}  // namespace isthmus::edge
