// The parts that a composition `part+part+…` is made of, in the order in which an encoder runs
// them; a decoder runs the reverse:
//
//   predictor -> sidecar -> transform -> policy (bits per tile) -> format (range, rounding, codes)
//   -> entropy coder
//
// A part is a PartSpec (its text form, immutable) and what it makes for one end of one direction of
// one edge. Both ends make the same object: Forward / TakeOut / Choose / Encode belong to the
// sender, Read / Inverse / PutBack / Decode to the receiver. What a part derives at the receiver it
// derives from bytes, by integers and element-wise fp32 + - *.
//
// Bytes are trusted by nobody: every Read and Decode checks what it reads, and the pipeline refuses
// results that are not finite.
#ifndef ISTHMUS_COMPRESSION_PART_H_
#define ISTHMUS_COMPRESSION_PART_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/bytes.h"
#include "base/status.h"
#include "compression/codec.h"
#include "compression/row_noise.h"

namespace isthmus {

// The frame as a part sees it: `rows` x `width` fp32 values, row-major. A sidecar that takes tokens
// or columns out leaves a smaller frame to the parts behind it.
struct PartFrame {
  uint64_t step = 0;
  bool training = true;
  absl::Span<const SampleRows> samples;  // of these rows, in order, without gaps
  size_t rows = 0;
  size_t width = 0;
};

// Rows [first, first + count) of a frame.
struct RowBlock {
  size_t first = 0;
  size_t count = 0;
};

// What a stateful part keeps between frames. A training frame's changes are settled when the whole
// frame was coded; Rollback goes back to the last Commit. Default: nothing.
class PartState {
 public:
  virtual ~PartState() = default;
  virtual void BeginFrame() {}  // drops what an earlier frame left unsettled
  virtual void Settle() {}
  virtual void Commit() {}
  virtual void Rollback() {}
  virtual void Forget() {}
  virtual void Snapshot(ByteWriter*) const {}
  virtual absl::Status Restore(ByteReader*) { return absl::OkStatus(); }
  virtual uint64_t Hash() const { return 0; }
  virtual int64_t StateBytes() const { return 0; }
};

// Takes tokens, columns or entries out of the matrix, in 16 bits with their places.
class Sidecar : public PartState {
 public:
  // Removes them from x, appends them to *side and makes *frame what is left.
  virtual void TakeOut(PartFrame* frame, float* x, Bytes* side) = 0;
  // Reads what TakeOut appended; *frame becomes what is left.
  virtual absl::Status Read(PartFrame* frame, ByteReader* side) = 0;
  // x holds what is left and has room for the frame before TakeOut, which it becomes.
  virtual void PutBack(float* x) = 0;
};

// A change of the values that the receiver undoes.
class Transform : public PartState {
 public:
  // True when a row's result depends on nothing but the row: then the pipeline works through the
  // frame in blocks that stay in the cache. Else there is one block with all rows.
  virtual bool ByRow() const = 0;
  virtual void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) = 0;
  virtual absl::Status Read(const PartFrame& frame, RowBlock rows, ByteReader* side) = 0;
  virtual void Inverse(const PartFrame& frame, RowBlock rows, float* x) = 0;
};

// Tiles of `tokens` x `channels` over a block of rows; the last of each direction may be smaller.
struct TileGrid {
  size_t tokens = 1;
  size_t channels = 64;

  size_t Across(size_t width) const { return (width + channels - 1) / channels; }
  size_t Down(size_t rows) const { return (rows + tokens - 1) / tokens; }
  size_t Count(size_t rows, size_t width) const { return Across(width) * Down(rows); }
};

// How many bits each tile gets. The receiver derives or reads them.
class WidthPolicy : public PartState {
 public:
  virtual bool ByRow() const = 0;
  // widths[tile] in row-major order of tiles, 1 to 8 each; `bits` is the format's own width.
  virtual void Choose(const PartFrame& frame, RowBlock rows, const float* x, const TileGrid& grid,
                      int bits, uint8_t* widths, Bytes* side) = 0;
  virtual absl::Status Read(const PartFrame& frame, RowBlock rows, const TileGrid& grid, int bits,
                            ByteReader* side, uint8_t* widths) = 0;
  // Sender: the decoded gradient of what a training frame sent.
  virtual bool WantsGradient() const { return false; }
  virtual void ObserveGradient(absl::Span<const float>) {}
};

// Turns values into bytes: range, rounding, codes.
class ValueFormat : public PartState {
 public:
  virtual bool ByRow() const = 0;
  // For a policy: the tiles whose widths it may choose, and the width without one.
  virtual TileGrid Grid(size_t) const { return {}; }
  virtual int Bits() const { return 8; }
  // From now on codes go through the entropy coder; only where the traits say takes_entropy.
  virtual void UseEntropyCoder() {}
  // Appends the codes of a block. `widths` is null without a policy; `noise`, begun for the frame,
  // makes rounding stochastic. Returns how many of the bytes are codes (the rest is side
  // information), or -1 for a value beyond what the format serves.
  virtual int64_t Encode(const PartFrame& frame, RowBlock rows, const float* x,
                         const uint8_t* widths, RowNoise* noise, Bytes* out) = 0;
  virtual absl::Status Decode(const PartFrame& frame, RowBlock rows, const uint8_t* widths,
                              ByteReader* in, float* x) = 0;
};

// What compositions are checked against.
struct PartTraits {
  bool mixes_channels = false;     // a value depends on other channels of its token
  bool mixes_tokens = false;       // … on other tokens: needs whole sequences
  bool weighs_channels = false;    // gives channels different precision: must not be mixed after
  bool takes_policy = false;       // a format whose tiles may have widths of their own
  bool takes_entropy = false;      // a format whose codes an entropy coder may take
  bool forward_only = false;       // activations of samples that come again
  bool remembers_samples = false;  // a store by sample
  bool needs_store = false;        // makes sense only on changes from a store
  bool drops_columns = false;      // leaves fewer columns to the parts behind
  bool moves_channels = false;     // a column behind it is another channel, or another size of it
  bool knows_channels = false;  // learned something of each channel: they must be where they were
  bool has_table = false;       // state of its own, sent now and then (shared_table.h)
};

enum class Rounding : uint8_t { kByDirection = 0, kNearest = 1, kStochastic = 2 };

class PartSpec {
 public:
  virtual ~PartSpec() = default;
  virtual std::string canonical() const = 0;
  virtual PartTraits traits() const { return {}; }
  virtual absl::Status CheckEdge(const EdgeShape&) const { return absl::OkStatus(); }
  // A format's rounding: nearest for activations, stochastic for gradients unless it says which.
  virtual Rounding rounding() const { return Rounding::kByDirection; }

  // Exactly one of these is not null, by the stage of the part's row; none for an entropy coder.
  virtual std::unique_ptr<Sidecar> MakeSidecar(const EdgeShape&) const { return nullptr; }
  virtual std::unique_ptr<Transform> MakeTransform(const EdgeShape&) const { return nullptr; }
  virtual std::unique_ptr<WidthPolicy> MakePolicy(const EdgeShape&) const { return nullptr; }
  virtual std::unique_ptr<ValueFormat> MakeFormat(const EdgeShape&) const { return nullptr; }

  virtual int64_t StateBytesFor(const EdgeShape&) const { return 0; }
};

// The error of a part whose bytes are none.
template <typename... Got>
absl::Status CorruptPart(absl::string_view part, absl::string_view expected, const Got&... got) {
  return InvalidArgument("frame: ", part, ": expected ", expected, ", got ", got...);
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_PART_H_
