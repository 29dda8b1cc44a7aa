// AQ-SGD (Wang et al., NeurIPS 2022, arXiv 2206.01299): both ends hold the decoded values m of
// every sample they have seen; a visit sends the quantised change and both set m := m +
// decode(change). docs/numerics.md has the arithmetic.
//
// A frame:
//   u8 flags: 1 = a check of m follows, 2 = forget all rows first
//   [u32 check]   Hash64 of this frame's new rows, lower half; every 16th training frame
//   per sample, in context order:
//     varint version << 2 | kind      kind 0 key, 1 change, 2 no change; version counts visits
//     since the row's key frame key: KeyFrameCoder bytes · change: ColumnCoder (group=channel) or
//     MatrixCoder bytes · no change: nothing
//
// Evaluation frames hold key frames of version 0 only and touch no row.
#ifndef ISTHMUS_COMPRESSION_AQSGD_FRAME_H_
#define ISTHMUS_COMPRESSION_AQSGD_FRAME_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "compression/codec.h"
#include "compression/key_frame.h"
#include "compression/matrix_coder.h"
#include "compression/store_row.h"

namespace isthmus {

// How the change of a sample is coded, where it is not the ColumnCoder or MatrixCoder of
// AqsgdOptions. Without state.
class ChangeCoder {
 public:
  virtual ~ChangeCoder() = default;
  // Appends the code of change (the sample's tokens x width) and writes what it decodes to.
  virtual EncodedSize Encode(const float* change, const SampleRows& sample,
                             const FrameContext& context, Bytes* out, float* decoded) = 0;
  // False when the bytes are none.
  virtual bool Decode(ByteReader* in, const SampleRows& sample, const FrameContext& context,
                      float* decoded) = 0;
};
using ChangeCoderFactory = std::function<std::unique_ptr<ChangeCoder>(const EdgeShape& shape)>;

struct AqsgdOptions {
  int bits = 4;
  KeyFormat first = KeyFormat::kInt8;
  Group group = Group::kChannel;
  bool mapped = false;  // the store is a file under EdgeShape::state_dir
  StoreType type = StoreType::kFp32;
  int64_t capacity = 0;        // rows; 0: one per training sample
  ChangeCoderFactory changes;  // null: by `bits` and `group`
  // A later visit whose cosine with the held row reaches this sends nothing. 2: never.
  double skip_cosine = 2.0;
  // Sends the values themselves, coded by `changes`, wherever it sends: key frames too.
  bool whole = false;
};

Codec::StateSize AqsgdStateSize(const AqsgdOptions& options, const EdgeShape& shape);
absl::StatusOr<std::unique_ptr<Encoder>> MakeAqsgdEncoder(const AqsgdOptions& options,
                                                          const EdgeShape& shape);
absl::StatusOr<std::unique_ptr<Decoder>> MakeAqsgdDecoder(const AqsgdOptions& options,
                                                          const EdgeShape& shape);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_AQSGD_FRAME_H_
