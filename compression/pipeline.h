// Runs sidecars, transforms, policy and format of a composition over a matrix.
//
//   side information of the sidecars, in order | blocks
//   block: side information of the transforms, in order | of the policy | the format's bytes
//
// Where every part works row by row, a block holds as many rows as stay in the second-level cache
// (64 KiB of fp32); else one block holds all rows.
#ifndef ISTHMUS_COMPRESSION_PIPELINE_H_
#define ISTHMUS_COMPRESSION_PIPELINE_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "base/bytes.h"
#include "compression/codec.h"
#include "compression/composition.h"
#include "compression/part.h"
#include "compression/row_noise.h"

namespace isthmus {

class Pipeline {
 public:
  // The largest magnitude that parts may be given, 2^96 as fp32 bits: sums over 2^14 channels and
  // factors of 2^16 stay below the 2^126 that formats refuse.
  static constexpr uint32_t kLargestInput = 0x6F800000u;

  Pipeline(const Composition& composition, const EdgeShape& shape);

  // Appends the code of x. False for a value beyond kLargestInput; *out is then unfinished.
  bool Encode(const PartFrame& frame, const float* x, Bytes* out, EncodedSize* size);
  absl::Status Decode(const PartFrame& frame, ByteReader* in, float* out);

  // One row of a frame at a time, for predictors that need the row before decoded; only where
  // ByRow(). BeginFrame first.
  bool ByRow() const { return by_row_; }
  void BeginFrame(const PartFrame& frame);
  bool EncodeBlock(const PartFrame& frame, RowBlock rows, float* x, Bytes* out, EncodedSize* size);
  absl::Status DecodeBlock(const PartFrame& frame, RowBlock rows, ByteReader* in, float* out);

  // The policy's wish and what it is for.
  bool WantsGradient() const { return policy_ != nullptr && policy_->WantsGradient(); }
  void ObserveGradient(absl::Span<const float> g_TD) { policy_->ObserveGradient(g_TD); }

  absl::Span<PartState* const> states() { return states_; }
  absl::Span<PartState* const> states() const { return states_; }

 private:
  size_t BlockRows(const PartFrame& frame) const;
  uint8_t* Widths(const PartFrame& frame, RowBlock rows);

  std::vector<std::unique_ptr<Sidecar>> sidecars_;
  std::vector<std::unique_ptr<Transform>> transforms_;
  std::unique_ptr<WidthPolicy> policy_;
  std::unique_ptr<ValueFormat> format_;
  std::vector<PartState*> states_;
  RowNoise noise_;
  bool stochastic_ = false;
  bool by_row_ = true;
  std::vector<float> work_;
  std::vector<uint8_t> widths_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_PIPELINE_H_
