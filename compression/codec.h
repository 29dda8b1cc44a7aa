// The codec library's front door: a CodecSpec is data, a Codec makes Encoders and Decoders, and
// those two hold all the state of one direction of one edge.
//
// A frame is `tokens` rows of `width` fp32 values, row-major, real (unpadded) tokens only, grouped
// by sample. Encode is called once per frame, in frame order; Decode sees the same frames in the
// same order. What is decoded is a pure function of (bytes, spec, state), bit for bit the same on
// every machine, and equals what the encoder holds in its own state.
//
// Errors: non-finite input (or beyond 2^126 in magnitude) is kInvalidArgument naming the first bad
// position; corrupt or truncated bytes are kInvalidArgument; a frame that does not follow the
// decoder's state (a lost delta, another version) is kDataLoss and asks for a key frame. A failed
// call leaves the state as it was.
//
// Threads: an Encoder or Decoder belongs to one thread at a time.
#ifndef ISTHMUS_COMPRESSION_CODEC_H_
#define ISTHMUS_COMPRESSION_CODEC_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

enum class Direction : uint8_t { kForward = 0, kBackward = 1 };
absl::string_view Name(Direction direction);  // "forward", "backward"

// Rows [begin, begin + tokens) of a frame belong to one sample.
struct SampleRows {
  uint64_t sample = 0;  // opaque id, stable over epochs
  int64_t begin = 0;
  int64_t tokens = 0;
};

// What encoder and decoder both know about a frame without sending it in the payload.
struct FrameContext {
  uint64_t step = 0;  // the optimizer update this frame belongs to
  uint32_t micro_batch = 0;
  bool training = true;  // false: state is read, never changed (evaluation, generation)
  absl::Span<const SampleRows> samples;  // in row order, covering all rows
  // One id per row, or empty: rows of equal ids tend to be alike (the token at that place). The
  // decoder has them too only where EdgeShape::shared_row_ids says so; else a codec that uses them
  // sends what its decoder needs.
  absl::Span<const uint32_t> row_ids = {};
  // tokens x width, or empty: the decoded rows of an earlier edge of this micro-batch, where both
  // ends hold them (EdgeShape::shared_earlier), bit for bit.
  absl::Span<const float> earlier_TD = {};
};

// The fixed facts of one direction of one edge.
struct EdgeShape {
  int64_t width = 0;  // values per token
  uint32_t edge = 0;
  Direction direction = Direction::kForward;
  uint64_t seed = 0;              // the job's; keys of stochastic rounding derive from it
  int64_t num_samples = 0;        // distinct training samples, 0 if unknown: sizes a store
  int64_t max_sample_tokens = 0;  // longest sample: sizes a store
  int64_t total_steps = 0;        // length of the run, 0 if unknown: ramps
  std::string state_dir;          // where a memory-mapped store may live; "" = RAM only
  bool shared_row_ids = false;    // both ends know FrameContext::row_ids
  bool shared_earlier = false;    // both ends know FrameContext::earlier_TD
};

// What one Encode put out. payload + side is the size of the bytes appended; `side` counts scales,
// zero points, width tables, ids.
struct EncodedSize {
  int64_t payload_bytes = 0;
  int64_t side_bytes = 0;
  int32_t key_frames = 0;  // samples coded without their prediction because there was none
  int64_t saturated = 0;   // values beyond the format's range, sent as its largest (fp16)
};

class Encoder {
 public:
  virtual ~Encoder() = default;

  // Codes x (tokens x width) and appends to *out.
  virtual absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD,
                                             const FrameContext& context, Bytes* out) = 0;

  // The decoded gradient of what an earlier training Encode of this micro-batch sent; gates learn
  // from it. Default: ignored.
  virtual absl::Status ObserveGradient(absl::Span<const float> g_TD, const FrameContext& context);
  virtual bool WantsGradient() const { return false; }
  // The row ids as the peer's decoder knows them, of the last Encode; empty when the codec sends
  // none.
  virtual absl::Span<const uint32_t> RowIds() const { return {}; }

  // Moves the quality target by `db` against the spec's, from the next frame on. Codecs without
  // a target in decibels ignore it.
  virtual void SetQualityOffset(double /*db*/) {}

  // Step boundary. Commit makes the state since the last boundary permanent and lets policies move
  // (gates, width tables); Rollback restores the state of the last boundary bit for bit, after
  // which the step may be encoded again with the same bytes.
  virtual absl::Status CommitStep(uint64_t step) = 0;
  virtual absl::Status RollbackStep() = 0;

  // The next training frame of every sample is a key frame (the peer lost its state).
  virtual void RequestKeyFrames() = 0;

  // Everything a later Restore needs to go on bit for bit. Only at a step boundary.
  virtual absl::Status Snapshot(Bytes* out) const = 0;
  virtual absl::Status Restore(absl::Span<const uint8_t> snapshot) = 0;
  virtual uint64_t StateHash() const = 0;  // equal at both ends after the same frames
  virtual int64_t StateBytes() const = 0;
};

class Decoder {
 public:
  virtual ~Decoder() = default;

  // Decodes exactly `bytes` into out (tokens x width, sized by the caller from the context).
  virtual absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                              absl::Span<float> out_TD) = 0;
  // The row ids that the last decoded frame carried; empty when the codec sends none.
  virtual absl::Span<const uint32_t> RowIds() const { return {}; }

  virtual absl::Status CommitStep(uint64_t step) = 0;
  virtual absl::Status RollbackStep() = 0;
  virtual void
  RequestKeyFrames() = 0;  // forgets the state; deltas are refused until key frames came
  virtual absl::Status Snapshot(Bytes* out) const = 0;
  virtual absl::Status Restore(absl::Span<const uint8_t> snapshot) = 0;
  virtual uint64_t StateHash() const = 0;
  virtual int64_t StateBytes() const = 0;
};

// An immutable description of a codec. parse(canonical(s)) == s.
class Codec {
 public:
  virtual ~Codec() = default;
  // Parses the grammar of docs/wire_format.md: `int4`, `aqsgd(bits=4)`, … Errors name the argument
  // and what is allowed.
  static absl::StatusOr<std::shared_ptr<const Codec>> Parse(absl::string_view text);

  virtual std::string text() const = 0;       // as the user wrote it, without spaces
  virtual std::string canonical() const = 0;  // the full composition
  // aqsgd and the like: the other direction needs another codec.
  virtual bool ForwardOnly() const { return false; }
  // Transforms along the tokens of a sample: no use for a stream of single tokens (generation).
  virtual bool NeedsSequences() const { return false; }
  // The backward of a spec that stands for both directions.
  virtual std::string BackwardText() const { return text(); }
  // kInvalidArgument when the composition cannot serve this edge (width not a multiple of a block,
  // wrong direction …).
  virtual absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const = 0;
  virtual absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const = 0;
  // State of one end, for the plan and the check before a run. RAM and file apart.
  struct StateSize {
    int64_t ram_bytes = 0;
    int64_t file_bytes = 0;
  };
  virtual StateSize StateSizeFor(const EdgeShape& shape) const = 0;
};

// "none" for a scalar `codec:` stands for both directions; for a forward-only codec the backward is
// int8 at 4 bits and above, else int4. Used wherever one spec is given for both.
absl::StatusOr<std::string> DefaultBackward(absl::string_view forward);

// One function for true bits: everything on the wire of an edge and direction, times 8, over
// elements of real tokens.
double BitsPerElement(int64_t wire_bytes, int64_t elements);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_CODEC_H_
