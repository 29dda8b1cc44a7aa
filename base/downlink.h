// A host's downlink: one line that works whenever a byte is there for it.
#ifndef ISTHMUS_BASE_DOWNLINK_H_
#define ISTHMUS_BASE_DOWNLINK_H_

#include <cstddef>
#include <deque>

namespace isthmus {

// Pure arithmetic, in any unit of time. A frame is told when its last byte has come, so that one
// that came later may have begun earlier: what the line did not do in the meantime is kept as gaps,
// and such a frame fills them. Without them every small frame that comes between the first and the
// last byte of a large one would cost the large one its whole length. Not thread-safe.
class Downlink {
 public:
  // A frame whose first byte can have come at `first` and whose last came at `last`, and which
  // keeps the line busy for `length`: when the line is done with it, `last` at the earliest.
  double Pass(double first, double last, double length);

 private:
  struct Gap {
    double begin, end;
  };
  static constexpr size_t kMaxGaps = 64;  // the oldest are forgotten: frames overlap a few others

  std::deque<Gap> gaps_;  // in order, disjoint, before free_
  double free_ = 0.0;     // nothing is planned from here on
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_DOWNLINK_H_
