// The in-process carrier: two links joined by a cable that can be told to fail. The contract suite
// runs on it, and sessions are tested over it. Messages are the same bytes as on a socket.
#ifndef ISTHMUS_LINK_LOOPBACK_H_
#define ISTHMUS_LINK_LOOPBACK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "link/link.h"
#include "link/shaper.h"

namespace isthmus {

// What happens to one frame on its way. Frames are counted per side from 1, resends and all
// connections included, the links' own frames not.
struct Fault {
  enum class Kind {
    kCutBefore,      // the connection breaks, the frame is lost
    kCutAfter,       // the frame arrives, then the connection breaks: its ack is lost
    kTruncate,       // half of its bytes arrive, then the connection breaks
    kCorrupt,        // the bit `value` of the message is flipped
    kDelay,          // arrives `value` microseconds later, in order
    kDuplicate,      // arrives twice
    kSecondAttempt,  // after it the dialling side opens a second connection; the first is not
                     // noticed as broken
    kSilence,      // from now on nothing arrives in either direction, and nothing breaks, until the
                   // connection is cut
    kLoseForGood,  // the connection breaks and none comes again
  };
  Kind kind = Kind::kCutBefore;
  int side = 0;       // 0: frames that the first link sends
  int64_t frame = 1;  // which
  int64_t value = 0;
};

// Faults on demand; outlives neither link. Thread-safe.
class LoopbackCable {
 public:
  virtual ~LoopbackCable() = default;
  virtual void Cut() = 0;
  virtual void Silence() = 0;
  virtual void LoseForGood() = 0;
};

struct LoopbackOptions {
  LinkOptions link;
  std::shared_ptr<Shaper> shaper;  // null: unshaped
};

struct LoopbackPair {
  std::unique_ptr<Link> first, second;
  std::shared_ptr<LoopbackCable> cable;
};

// Connected when it returns. A broken connection comes back after a millisecond.
LoopbackPair MakeLoopback(const LoopbackOptions& first, const LoopbackOptions& second,
                          std::vector<Fault> faults = {});

}  // namespace isthmus

#endif  // ISTHMUS_LINK_LOOPBACK_H_
