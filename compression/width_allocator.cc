#include "compression/width_allocator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace isthmus {

void TopShare::Mark(absl::Span<const float> scores, double share, uint8_t* marks) {
  const size_t n = scores.size();
  const size_t count =
      std::min(n, static_cast<size_t>(std::lround(0.01 * share * static_cast<double>(n))));
  std::fill(marks, marks + n, uint8_t{0});
  if (count == 0) return;
  order_.resize(n);
  std::iota(order_.begin(), order_.end(), 0u);
  const auto before = [&](uint32_t a, uint32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  std::nth_element(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(count - 1), order_.end(),
                   before);
  for (size_t i = 0; i < count; ++i) marks[order_[i]] = 1;
}

BudgetAllocator::Step BudgetAllocator::Next(Rule rule, const float* errors, uint32_t size,
                                            uint32_t tile, int from, int high) {
  Step best{-1.0f, tile, 0};
  const int last = rule == Rule::kGreedy ? std::min(from + 1, high) : high;
  for (int to = from + 1; to <= last; ++to) {
    const float gain = (errors[from - 1] - errors[to - 1]) /
                       (static_cast<float>(size) * static_cast<float>(to - from));
    if (gain > best.gain) best = {gain, tile, static_cast<uint8_t>(to)};
  }
  return best;
}

void BudgetAllocator::Allocate(Rule rule, absl::Span<const float> errors,
                               absl::Span<const uint32_t> sizes, int low, int high,
                               int64_t budget_bits, uint8_t* widths) {
  heap_.clear();
  const auto push = [&](uint32_t tile, int from) {
    const Step step = Next(rule, errors.data() + size_t{8} * tile, sizes[tile], tile, from, high);
    if (step.gain <= 0.0f) return;
    heap_.push_back(step);
    std::push_heap(heap_.begin(), heap_.end());
  };
  for (uint32_t tile = 0; tile < sizes.size(); ++tile) {
    widths[tile] = static_cast<uint8_t>(low);
    budget_bits -= int64_t{low} * sizes[tile];
    push(tile, low);
  }
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end());
    const Step step = heap_.back();
    heap_.pop_back();
    const int64_t cost = int64_t{step.to - widths[step.tile]} * sizes[step.tile];
    if (cost > budget_bits) continue;  // a smaller tile may still fit
    budget_bits -= cost;
    widths[step.tile] = step.to;
    push(step.tile, step.to);
  }
}

}  // namespace isthmus
