// Encoders and decoders that remember nothing between frames: every step boundary, snapshot and
// key-frame request is empty.
#ifndef ISTHMUS_COMPRESSION_STATELESS_H_
#define ISTHMUS_COMPRESSION_STATELESS_H_

#include "base/status.h"
#include "compression/codec.h"
#include "compression/frame_check.h"

namespace isthmus {

template <typename Interface>
class Stateless : public Interface {
 public:
  absl::Status CommitStep(uint64_t) final { return absl::OkStatus(); }
  absl::Status RollbackStep() final { return absl::OkStatus(); }
  void RequestKeyFrames() final {}
  absl::Status Snapshot(Bytes*) const final { return absl::OkStatus(); }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) final {
    if (snapshot.empty()) return absl::OkStatus();
    return InvalidArgument("codec snapshot: expected 0 bytes, got ", snapshot.size());
  }
  uint64_t StateHash() const final { return 0; }
  int64_t StateBytes() const final { return 0; }
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_STATELESS_H_
