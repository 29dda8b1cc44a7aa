// previous: predicts a token from the decoded token before it in its sample, times one factor per
// frame (differential coding). The loop is closed: the sender predicts from what the receiver has,
// so errors do not add up. The parts behind it must work row by row.
//
//   u8 factor * 64, the least-squares one of the frame | per row, in order: the parts' bytes
//
// Worth 0.8 to 1.6 dB on activations (docs/codecs.md); every row pays for its own last byte.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "compression/composed_codec.h"
#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/stateless.h"

namespace isthmus {
namespace {

constexpr float kFactorUnit = 1.0f / 64.0f;

// What both ends hold while they walk a frame: the pipeline and the row decoded last.
class RowLoop {
 public:
  RowLoop(const Composition& composition, const EdgeShape& shape)
      : pipeline_(composition, shape), width_(static_cast<size_t>(shape.width)) {}

  Pipeline& pipeline() { return pipeline_; }
  size_t width() const { return width_; }
  void SetFactor(uint8_t stored) { factor_ = static_cast<float>(stored) * kFactorUnit; }

  // Where the next row starts a sample there is nothing to predict from.
  void StartSample() { std::fill_n(Room(&held_, width_), width_, 0.0f); }
  float Predicted(size_t c) const { return held_[c] * factor_; }

  // Decodes one row's bytes into `out` and remembers it.
  absl::Status DecodeRow(const PartFrame& frame, size_t row, ByteReader* in, float* out) {
    ISTHMUS_RETURN_IF_ERROR(pipeline_.DecodeBlock(frame, {row, 1}, in, out));
    for (size_t c = 0; c < width_; ++c) out[c] = out[c] + Predicted(c);
    if (ScanExtent(out, width_).magnitude > kLargestMagnitude)
      return CorruptPart("previous", "values up to 2^126", "others");
    std::memcpy(held_.data(), out, width_ * sizeof(float));
    return absl::OkStatus();
  }

 private:
  Pipeline pipeline_;
  size_t width_;
  float factor_ = 0.0f;
  std::vector<float> held_;
};

class PreviousEncoder final : public Stateless<Encoder> {
 public:
  PreviousEncoder(const Composition& composition, const EdgeShape& shape)
      : shape_(shape), loop_(composition, shape) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, x_TD.size()));
    if (ScanExtent(x_TD.data(), x_TD.size()).magnitude > Pipeline::kLargestInput)
      return NonFiniteError(shape_, context, x_TD, Pipeline::kLargestInput);
    const PartFrame frame = WholeFrame(context, rows, shape_.width);
    const size_t start = out->size();
    const uint8_t factor = BestFactor(x_TD.data(), context.samples);
    out->push_back(factor);
    loop_.SetFactor(factor);
    loop_.pipeline().BeginFrame(frame);
    EncodedSize size;
    for (const SampleRows& sample : context.samples) {
      loop_.StartSample();
      for (int64_t r = sample.begin; r < sample.begin + sample.tokens; ++r)
        EncodeRow(frame, static_cast<size_t>(r), x_TD.data(), out, &size);
    }
    size.side_bytes = static_cast<int64_t>(out->size() - start) - size.payload_bytes;
    return size;
  }

 private:
  uint8_t BestFactor(const float* x, absl::Span<const SampleRows> samples) const {
    double with = 0, alone = 0;
    for (const SampleRows& sample : samples) {
      for (int64_t r = sample.begin + 1; r < sample.begin + sample.tokens; ++r) {
        const float* row = x + static_cast<size_t>(r) * loop_.width();
        const float* before = row - loop_.width();
        for (size_t c = 0; c < loop_.width(); ++c) {
          with += static_cast<double>(row[c]) * before[c];
          alone += static_cast<double>(before[c]) * before[c];
        }
      }
    }
    if (!(alone > 0)) return 0;
    return static_cast<uint8_t>(std::clamp(std::lround(with / alone / kFactorUnit), 0L, 64L));
  }

  void EncodeRow(const PartFrame& frame, size_t row, const float* x, Bytes* out,
                 EncodedSize* size) {
    float* residual = Room(&residual_, loop_.width());
    for (size_t c = 0; c < loop_.width(); ++c)
      residual[c] = x[row * loop_.width() + c] - loop_.Predicted(c);
    const size_t at = out->size();
    ISTHMUS_CHECK(loop_.pipeline().EncodeBlock(frame, {row, 1}, residual, out, size));
    ByteReader reader(absl::MakeSpan(*out).subspan(at));
    ISTHMUS_CHECK(loop_.DecodeRow(frame, row, &reader, residual).ok());
  }

  EdgeShape shape_;
  RowLoop loop_;
  std::vector<float> residual_;
};

class PreviousDecoder final : public Stateless<Decoder> {
 public:
  PreviousDecoder(const Composition& composition, const EdgeShape& shape)
      : shape_(shape), loop_(composition, shape) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, out_TD.size()));
    const PartFrame frame = WholeFrame(context, rows, shape_.width);
    ByteReader reader(bytes);
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t factor, reader.Get<uint8_t>());
    if (factor > 64) return CorruptFrame(shape_, context, "a factor to 64", absl::StrCat(factor));
    loop_.SetFactor(factor);
    loop_.pipeline().BeginFrame(frame);
    for (const SampleRows& sample : context.samples) {
      loop_.StartSample();
      for (int64_t r = sample.begin; r < sample.begin + sample.tokens; ++r) {
        const auto row = static_cast<size_t>(r);
        ISTHMUS_RETURN_IF_ERROR(
            loop_.DecodeRow(frame, row, &reader, out_TD.data() + row * loop_.width()));
      }
    }
    if (reader.remaining() == 0) return absl::OkStatus();
    return CorruptFrame(shape_, context, "the end",
                        absl::StrCat(reader.remaining(), " more bytes"));
  }

 private:
  EdgeShape shape_;
  RowLoop loop_;
};

class PreviousSpec final : public PredictorSpec {
 public:
  std::string canonical() const override { return "previous"; }
  absl::Status CheckBehind(const Composition& composition) const override {
    EdgeShape shape;
    shape.width = 64;
    if (Pipeline(composition, shape).ByRow()) return absl::OkStatus();
    return InvalidArgument("codec ", composition.canonical(),
                           ": expected parts that work row by row behind previous (hadamard, "
                           "center(token), int with group=token or tile …), got others");
  }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const Composition& composition,
                                                       const EdgeShape& shape) const override {
    return std::make_unique<PreviousEncoder>(composition, shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const Composition& composition,
                                                       const EdgeShape& shape) const override {
    return std::make_unique<PreviousDecoder>(composition, shape);
  }
  Codec::StateSize StateSizeFor(const EdgeShape&) const override { return {}; }
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakePreviousPart(const SpecPart& part) {
  ISTHMUS_RETURN_IF_ERROR(SpecArguments::Bind(part, {}).status());
  return std::make_shared<PreviousSpec>();
}

}  // namespace isthmus
