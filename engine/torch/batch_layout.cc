#include "engine/torch/batch_layout.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/rotary_angles.h"
#include "engine/torch/convert.h"

namespace isthmus {

RotaryTable::RotaryTable(const ModelConfig& config, const at::Device& device)
    : frequencies_(RotaryFrequencies(config)), device_(device) {}

void RotaryTable::Grow(int64_t positions) {
  const int64_t have = cos_.defined() ? cos_.size(0) : 0;
  if (positions <= have) return;
  const int64_t rows = std::max<int64_t>({positions, 2 * have, 128});
  const int64_t half = static_cast<int64_t>(frequencies_.size());
  at::Tensor cos = at::empty({rows, 1, 2 * half}, at::kFloat);
  at::Tensor sin = at::empty({rows, 1, 2 * half}, at::kFloat);
  float* c = cos.data_ptr<float>();
  float* s = sin.data_ptr<float>();
  for (int64_t position = 0; position < rows; ++position, c += 2 * half, s += 2 * half) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies_[i];
      c[i] = c[half + i] = static_cast<float>(std::cos(angle));
      s[half + i] = static_cast<float>(std::sin(angle));
      s[i] = -s[half + i];
    }
  }
  cos_ = cos.to(device_);
  sin_ = sin.to(device_);
}

at::Tensor RotaryTable::Cos(int64_t first, int64_t count) {
  Grow(first + count);
  return cos_.narrow(0, first, count);
}

at::Tensor RotaryTable::Sin(int64_t first, int64_t count) {
  Grow(first + count);
  return sin_.narrow(0, first, count);
}

at::Tensor AttentionMask(const ModelConfig& config, int64_t past, int64_t queries,
                         const at::Device& device) {
  const int64_t groups = config.num_heads / config.num_kv_heads;
  const int64_t keys = past + queries;
  at::Tensor mask = at::zeros({1, groups * queries, keys}, at::kFloat);
  float* row = mask.data_ptr<float>();
  for (int64_t r = 0; r < groups * queries; ++r, row += keys) {
    const int64_t own = past + r % queries;
    std::fill(row + own + 1, row + keys, -std::numeric_limits<float>::infinity());
    if (config.sliding_window > 0 && own >= config.sliding_window) {
      std::fill(row, row + own - config.sliding_window + 1,
                -std::numeric_limits<float>::infinity());
    }
  }
  return mask.to(device);
}

BatchLayouts::BatchLayouts(const ModelConfig& config, const at::Device& device)
    : config_(config), device_(device), rotary_(config, device) {}

std::shared_ptr<const BatchLayout> BatchLayouts::Get(const std::vector<int32_t>& lengths) {
  if (last_ != nullptr && lengths == last_lengths_) return last_;
  auto layout = std::make_shared<BatchLayout>();
  layout->samples = static_cast<int64_t>(lengths.size());
  layout->longest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<int64_t> rows, positions;
  for (int64_t s = 0; s < layout->samples; ++s) {
    for (int64_t p = 0; p < lengths[s]; ++p) {
      rows.push_back(s * layout->longest + p);
      positions.push_back(p);
    }
  }
  layout->tokens = static_cast<int64_t>(rows.size());
  layout->ragged = layout->tokens != layout->samples * layout->longest;
  if (layout->ragged) layout->rows = Indices(rows, device_);
  const at::Tensor at_positions = Indices(positions, device_);
  if (config_.positions == Positions::kRope) {
    layout->cos = at::index_select(rotary_.Cos(0, layout->longest), 0, at_positions);
    layout->sin = at::index_select(rotary_.Sin(0, layout->longest), 0, at_positions);
  } else {
    layout->positions = at_positions;
  }
  layout->mask = AttentionMask(config_, 0, layout->longest, device_);
  last_lengths_ = lengths;
  last_ = std::move(layout);
  return last_;
}

}  // namespace isthmus
