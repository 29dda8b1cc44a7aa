// Gives tiles their bits.
#ifndef ISTHMUS_COMPRESSION_WIDTH_ALLOCATOR_H_
#define ISTHMUS_COMPRESSION_WIDTH_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace isthmus {

// Marks the `share` percent (rounded to nearest) with the largest scores; ties go to the first.
class TopShare {
 public:
  void Mark(absl::Span<const float> scores, double share, uint8_t* marks);

 private:
  std::vector<uint32_t> order_;
};

// Bits under a budget for the least sum of errors.
class BudgetAllocator {
 public:
  // kGreedy: always the next bit that removes the most error per bit.
  // kKnapsack: the next step along the convex hull of each tile's errors, which may be several bits
  // at once: within one step of the optimum of min sum errors subject to sum bits <= budget.
  enum class Rule : uint8_t { kGreedy, kKnapsack };

  // errors[8 * tile + b - 1], sizes[tile] values; low to high bits a tile. Everybody has `low` at
  // least, even where the budget does not pay for it.
  void Allocate(Rule rule, absl::Span<const float> errors, absl::Span<const uint32_t> sizes,
                int low, int high, int64_t budget_bits, uint8_t* widths);

 private:
  struct Step {
    float gain;  // error removed per bit
    uint32_t tile;
    uint8_t to;
    bool operator<(const Step& other) const {
      return gain != other.gain ? gain < other.gain : tile > other.tile;
    }
  };
  static Step Next(Rule rule, const float* errors, uint32_t size, uint32_t tile, int from,
                   int high);
  std::vector<Step> heap_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_WIDTH_ALLOCATOR_H_
