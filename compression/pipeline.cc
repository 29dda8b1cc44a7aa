#include "compression/pipeline.h"

#include <algorithm>
#include <cstring>

#include "compression/kernels.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

constexpr size_t kBlockElements = 16384;
constexpr uint32_t kInfinity = 0x7F800000u;

}  // namespace

Pipeline::Pipeline(const Composition& composition, const EdgeShape& shape) : noise_(shape) {
  for (const ComposedPart& part : composition.parts) {
    switch (part.row->stage) {
      case PartStage::kPredictor:
        break;
      case PartStage::kSidecar:
        sidecars_.push_back(part.spec->MakeSidecar(shape));
        states_.push_back(sidecars_.back().get());
        by_row_ = false;
        break;
      case PartStage::kTransform:
        transforms_.push_back(part.spec->MakeTransform(shape));
        states_.push_back(transforms_.back().get());
        by_row_ &= transforms_.back()->ByRow();
        break;
      case PartStage::kPolicy:
        policy_ = part.spec->MakePolicy(shape);
        states_.push_back(policy_.get());
        by_row_ &= policy_->ByRow();
        break;
      case PartStage::kFormat:
        format_ = part.spec->MakeFormat(shape);
        states_.push_back(format_.get());
        break;
      case PartStage::kEntropy:
        format_->UseEntropyCoder();
        break;
    }
  }
  by_row_ &= format_->ByRow();
  const Rounding rounding = composition.format().rounding();
  stochastic_ = rounding == Rounding::kStochastic ||
                (rounding == Rounding::kByDirection && shape.direction == Direction::kBackward);
}

void Pipeline::BeginFrame(const PartFrame& frame) {
  if (stochastic_) noise_.Begin(frame.step, frame.samples);
  for (PartState* state : states_) state->BeginFrame();
}

size_t Pipeline::BlockRows(const PartFrame& frame) const {
  if (!by_row_) return frame.rows;
  const size_t together = format_->Grid(frame.width).tokens;
  const size_t rows = std::max<size_t>(1, kBlockElements / frame.width);
  return (rows + together - 1) / together * together;
}

uint8_t* Pipeline::Widths(const PartFrame& frame, RowBlock rows) {
  return Room(&widths_, format_->Grid(frame.width).Count(rows.count, frame.width));
}

bool Pipeline::Encode(const PartFrame& frame, const float* x, Bytes* out, EncodedSize* size) {
  BeginFrame(frame);
  PartFrame left = frame;
  const size_t start = out->size();
  const int64_t payload = size->payload_bytes;
  const size_t block_rows = BlockRows(frame);
  for (size_t first = 0; first < frame.rows; first += block_rows) {
    RowBlock rows{first, std::min(block_rows, frame.rows - first)};
    const size_t n = rows.count * frame.width;
    const float* from = x + first * frame.width;
    if (ScanExtent(from, n).magnitude > kLargestInput) return false;
    float* work = Room(&work_, n);
    std::memcpy(work, from, n * sizeof(float));
    for (const auto& sidecar : sidecars_) sidecar->TakeOut(&left, work, out);
    if (!sidecars_.empty()) {
      rows.count = left.rows;
      if (stochastic_) noise_.Begin(left.step, left.samples);
    }
    if (!EncodeBlock(left, rows, work, out, size)) return false;
  }
  size->side_bytes += static_cast<int64_t>(out->size() - start) - (size->payload_bytes - payload);
  return true;
}

bool Pipeline::EncodeBlock(const PartFrame& frame, RowBlock rows, float* x, Bytes* out,
                           EncodedSize* size) {
  if (rows.count == 0 || frame.width == 0) return true;
  for (const auto& transform : transforms_) transform->Forward(frame, rows, x, out);
  uint8_t* widths = nullptr;
  if (policy_ != nullptr) {
    widths = Widths(frame, rows);
    policy_->Choose(frame, rows, x, format_->Grid(frame.width), format_->Bits(), widths, out);
  }
  const int64_t codes =
      format_->Encode(frame, rows, x, widths, stochastic_ ? &noise_ : nullptr, out);
  if (codes < 0) return false;
  size->payload_bytes += codes;
  return true;
}

absl::Status Pipeline::Decode(const PartFrame& frame, ByteReader* in, float* out) {
  BeginFrame(frame);
  if (frame.rows == 0) return absl::OkStatus();
  PartFrame left = frame;
  for (const auto& sidecar : sidecars_) ISTHMUS_RETURN_IF_ERROR(sidecar->Read(&left, in));
  const size_t block_rows = BlockRows(frame);
  for (size_t first = 0; first < left.rows; first += block_rows) {
    const RowBlock rows{first, std::min(block_rows, left.rows - first)};
    ISTHMUS_RETURN_IF_ERROR(DecodeBlock(left, rows, in, out + first * left.width));
  }
  for (size_t i = sidecars_.size(); i-- > 0;) sidecars_[i]->PutBack(out);
  return absl::OkStatus();
}

absl::Status Pipeline::DecodeBlock(const PartFrame& frame, RowBlock rows, ByteReader* in,
                                   float* out) {
  if (rows.count == 0 || frame.width == 0) return absl::OkStatus();
  for (const auto& transform : transforms_)
    ISTHMUS_RETURN_IF_ERROR(transform->Read(frame, rows, in));
  uint8_t* widths = nullptr;
  if (policy_ != nullptr) {
    widths = Widths(frame, rows);
    ISTHMUS_RETURN_IF_ERROR(
        policy_->Read(frame, rows, format_->Grid(frame.width), format_->Bits(), in, widths));
  }
  ISTHMUS_RETURN_IF_ERROR(format_->Decode(frame, rows, widths, in, out));
  for (size_t i = transforms_.size(); i-- > 0;) transforms_[i]->Inverse(frame, rows, out);
  if (ScanExtent(out, rows.count * frame.width).magnitude >= kInfinity)
    return CorruptPart("values", "finite ones", "others");
  return absl::OkStatus();
}

}  // namespace isthmus
