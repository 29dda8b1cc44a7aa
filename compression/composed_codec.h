// What the encoders and decoders of compositions share: the pipeline with the state of its parts.
#ifndef ISTHMUS_COMPRESSION_COMPOSED_CODEC_H_
#define ISTHMUS_COMPRESSION_COMPOSED_CODEC_H_

#include <memory>

#include "absl/status/statusor.h"
#include "compression/composition.h"
#include "compression/pipeline.h"

namespace isthmus {

// Step boundaries, key frames and snapshots of all parts of one end.
//   snapshot: nothing without state, else u64 Hash64 of the rest | every part's state in order
class PartStates {
 public:
  explicit PartStates(absl::Span<PartState* const> states)
      : states_(states.begin(), states.end()) {}

  void Settle();
  void Commit();
  void Rollback();
  void Forget();
  void Snapshot(Bytes* out) const;
  absl::Status Restore(absl::Span<const uint8_t> snapshot);
  uint64_t Hash() const;  // 0 without state
  int64_t StateBytes() const;

 private:
  std::vector<PartState*> states_;
};

// The whole frame of a context as parts see it.
PartFrame WholeFrame(const FrameContext& context, int64_t rows, int64_t width);

// A decoder that undoes the pipeline and nothing else.
std::unique_ptr<Decoder> MakePlainDecoder(const Composition& composition, const EdgeShape& shape);

// How a predictor wraps a composition's pipeline.
class PredictorSpec : public PartSpec {
 public:
  virtual absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const Composition& composition,
                                                               const EdgeShape& shape) const = 0;
  virtual absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const Composition& composition,
                                                               const EdgeShape& shape) const = 0;
  // kInvalidArgument when the parts behind it do not suit it.
  virtual absl::Status CheckBehind(const Composition& composition) const = 0;
  virtual Codec::StateSize StateSizeFor(const EdgeShape& shape) const = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_COMPOSED_CODEC_H_
