// EdgeCodec: one direction of one edge at one end. The sender turns a tensor into a frame, the
// receiver a frame into a tensor; both count true bytes. Payload of an edge frame
// (docs/wire_format.md):
//
//   forward:  varint samples, then per sample: varint length, u64 sample id; then the codec's bytes
//   backward: the codec's bytes (both ends know the micro-batch)
//
// Evaluation frames read codec state and never change it. Threads: the stage thread.
#ifndef ISTHMUS_PIPELINE_EDGE_CODEC_H_
#define ISTHMUS_PIPELINE_EDGE_CODEC_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "compression/codec.h"
#include "engine/stage.h"
#include "link/frame.h"

namespace isthmus {

// What one edge and direction put on the socket; by kind of traffic.
struct EdgeUse {
  int64_t elements = 0;
  int64_t frames = 0;
  int64_t payload_bytes = 0;
  int64_t side_bytes = 0;
  int64_t header_bytes = 0;
  int64_t key_frames = 0;
  int64_t resends = 0;       // frames sent again after a link broke
  int64_t resend_bytes = 0;  // theirs, inside the three above too
  int64_t wire_bytes() const { return payload_bytes + side_bytes + header_bytes; }
  void Add(const EdgeUse& other);
};

// Which sum a frame's bytes belong to; on the wire in EdgeUse.
enum class Traffic : uint8_t {
  kTraining = 0,
  kEvaluation = 1,
  kUncompressedEvaluation = 2,
  kGeneration = 3
};
inline constexpr size_t kTrafficKinds = 4;

// How a frame's tensor travels: kTrain changes codec state, the others only read it; kUncompressed
// uses the identity codec; kProbe is an evaluation that trains (engine/zeroth_order.h), counted so.
enum class EdgeMode : uint8_t { kTrain, kEval, kUncompressed, kGenerate, kProbe };

// What helps a codec and is not in the frame; each may be empty (compression/codec.h).
struct EdgeHints {
  std::vector<uint32_t> row_ids;
  Tensor earlier;  // the decoded rows of an earlier edge
};

class EdgeSender {
 public:
  static absl::StatusOr<std::unique_ptr<EdgeSender>> Make(const std::string& codec,
                                                          const EdgeShape& shape,
                                                          uint32_t generation);

  absl::StatusOr<Frame> Encode(const MicroBatch& mb, const Tensor& tensor, EdgeMode mode, bool tls,
                               const EdgeHints& hints = {});
  // The gradient that came back for a forward frame of this step.
  absl::Status ObserveGradient(const MicroBatch& mb, const Tensor& gradient);
  bool wants_gradient() const { return encoder_->WantsGradient(); }
  void SetQualityOffset(double db) { encoder_->SetQualityOffset(db); }

  Encoder* encoder() { return encoder_.get(); }
  const EdgeShape& shape() const { return shape_; }
  EdgeUse TakeUse(Traffic traffic);  // since the last call

 private:
  EdgeSender() = default;
  EdgeShape shape_;
  uint32_t generation_ = 0;
  std::unique_ptr<Encoder> encoder_, identity_;
  EdgeUse use_[kTrafficKinds];
};

class EdgeReceiver {
 public:
  static absl::StatusOr<std::unique_ptr<EdgeReceiver>> Make(const std::string& codec,
                                                            const EdgeShape& shape);

  // Forward: fills mb's samples and lengths from the frame (bounded by max_tokens). Backward: mb
  // says what to expect.
  absl::StatusOr<Tensor> Decode(const Frame& frame, EdgeMode mode, MicroBatch* mb,
                                const EdgeHints& hints = {});

  Decoder* decoder() { return decoder_.get(); }
  const EdgeShape& shape() const { return shape_; }

 private:
  EdgeReceiver() = default;
  EdgeShape shape_;
  std::unique_ptr<Decoder> decoder_, identity_;
};

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_EDGE_CODEC_H_
