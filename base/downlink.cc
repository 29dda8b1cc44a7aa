#include "base/downlink.h"

#include <algorithm>

namespace isthmus {

double Downlink::Pass(double first, double last, double length) {
  std::deque<Gap> left;
  double end = last;
  for (const Gap& gap : gaps_) {
    const double begin = std::max(gap.begin, first);
    const double used = std::clamp(gap.end - begin, 0.0, length);
    if (used <= 0.0) {
      left.push_back(gap);
      continue;
    }
    length -= used;
    end = std::max(last, begin + used);
    if (begin > gap.begin) left.push_back({gap.begin, begin});
    if (begin + used < gap.end) left.push_back({begin + used, gap.end});
  }
  if (length > 0.0) {
    const double begin = std::max(free_, first);
    if (begin > free_) left.push_back({free_, begin});
    free_ = begin + length;
    end = std::max(last, free_);
  }
  while (left.size() > kMaxGaps) left.pop_front();
  gaps_ = std::move(left);
  return end;
}

}  // namespace isthmus
