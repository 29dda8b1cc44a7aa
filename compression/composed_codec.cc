#include "compression/composed_codec.h"

#include <utility>

#include "base/hash.h"
#include "base/status.h"
#include "compression/frame_check.h"
#include "compression/kernels.h"

namespace isthmus {
namespace {

class ComposedEncoder final : public Encoder {
 public:
  ComposedEncoder(const Composition& composition, const EdgeShape& shape)
      : shape_(shape), pipeline_(composition, shape), states_(pipeline_.states()) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, x_TD.size()));
    const size_t start = out->size();
    EncodedSize size;
    if (!pipeline_.Encode(WholeFrame(context, rows, shape_.width), x_TD.data(), out, &size)) {
      out->resize(start);
      return NonFiniteError(shape_, context, x_TD, Pipeline::kLargestInput);
    }
    if (context.training) states_.Settle();
    return size;
  }
  bool WantsGradient() const override { return pipeline_.WantsGradient(); }
  absl::Status ObserveGradient(absl::Span<const float> g_TD, const FrameContext& context) override {
    if (!WantsGradient() || !context.training) return absl::OkStatus();
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, g_TD.size()).status());
    if (ScanExtent(g_TD.data(), g_TD.size()).magnitude > kLargestMagnitude)
      return NonFiniteError(shape_, context, g_TD);
    pipeline_.ObserveGradient(g_TD);
    return absl::OkStatus();
  }
  absl::Status CommitStep(uint64_t) override {
    states_.Commit();
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    states_.Rollback();
    return absl::OkStatus();
  }
  void RequestKeyFrames() override { states_.Forget(); }
  absl::Status Snapshot(Bytes* out) const override {
    states_.Snapshot(out);
    return absl::OkStatus();
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    return states_.Restore(snapshot);
  }
  uint64_t StateHash() const override { return states_.Hash(); }
  int64_t StateBytes() const override { return states_.StateBytes(); }

 private:
  EdgeShape shape_;
  Pipeline pipeline_;
  PartStates states_;
};

class ComposedDecoder final : public Decoder {
 public:
  ComposedDecoder(const Composition& composition, const EdgeShape& shape)
      : shape_(shape), pipeline_(composition, shape), states_(pipeline_.states()) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, out_TD.size()));
    ByteReader reader(bytes);
    const absl::Status decoded =
        pipeline_.Decode(WholeFrame(context, rows, shape_.width), &reader, out_TD.data());
    if (!decoded.ok()) {
      return absl::Status(decoded.code(),
                          absl::StrCat(decoded.message(), " ", Where(shape_, context)));
    }
    if (reader.remaining() != 0) {
      return CorruptFrame(shape_, context, "the end",
                          absl::StrCat(reader.remaining(), " more bytes"));
    }
    if (context.training) states_.Settle();
    return absl::OkStatus();
  }
  absl::Status CommitStep(uint64_t) override {
    states_.Commit();
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    states_.Rollback();
    return absl::OkStatus();
  }
  void RequestKeyFrames() override { states_.Forget(); }
  absl::Status Snapshot(Bytes* out) const override {
    states_.Snapshot(out);
    return absl::OkStatus();
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    return states_.Restore(snapshot);
  }
  uint64_t StateHash() const override { return states_.Hash(); }
  int64_t StateBytes() const override { return states_.StateBytes(); }

 private:
  EdgeShape shape_;
  Pipeline pipeline_;
  PartStates states_;
};

class ComposedCodec final : public Codec {
 public:
  ComposedCodec(std::string text, Composition composition)
      : text_(std::move(text)), composition_(std::move(composition)) {}

  std::string text() const override { return text_; }
  std::string canonical() const override { return composition_.canonical(); }
  bool ForwardOnly() const override { return composition_.traits().forward_only; }
  std::string BackwardText() const override {
    if (!ForwardOnly()) return text_;
    return composition_.format().MakeFormat(EdgeShape())->Bits() >= 4 ? "int8" : "int4";
  }
  bool NeedsSequences() const override { return composition_.traits().mixes_tokens; }

  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(Check(shape));
    if (predictor() != nullptr) return predictor()->MakeEncoder(composition_, shape);
    return std::make_unique<ComposedEncoder>(composition_, shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(Check(shape));
    if (predictor() != nullptr) return predictor()->MakeDecoder(composition_, shape);
    return std::make_unique<ComposedDecoder>(composition_, shape);
  }
  StateSize StateSizeFor(const EdgeShape& shape) const override {
    StateSize size;
    if (predictor() != nullptr) size = predictor()->StateSizeFor(shape);
    for (const ComposedPart& part : composition_.parts)
      size.ram_bytes += part.spec->StateBytesFor(shape);
    return size;
  }

 private:
  const PredictorSpec* predictor() const {
    const ComposedPart* part = composition_.Find(PartStage::kPredictor);
    return part == nullptr ? nullptr : static_cast<const PredictorSpec*>(part->spec.get());
  }
  absl::Status Check(const EdgeShape& shape) const {
    ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
    for (const ComposedPart& part : composition_.parts)
      ISTHMUS_RETURN_IF_ERROR(part.spec->CheckEdge(shape));
    return absl::OkStatus();
  }

  std::string text_;
  Composition composition_;
};

}  // namespace

void PartStates::Settle() {
  for (PartState* state : states_) state->Settle();
}
void PartStates::Commit() {
  for (PartState* state : states_) state->Commit();
}
void PartStates::Rollback() {
  for (PartState* state : states_) state->Rollback();
}
void PartStates::Forget() {
  for (PartState* state : states_) state->Forget();
}

void PartStates::Snapshot(Bytes* out) const {
  Bytes body;
  ByteWriter writer(&body);
  for (const PartState* state : states_) state->Snapshot(&writer);
  if (body.empty()) return;
  ByteWriter(out).Put(Hash64(body));
  out->insert(out->end(), body.begin(), body.end());
}

absl::Status PartStates::Restore(absl::Span<const uint8_t> snapshot) {
  Bytes own;
  Snapshot(&own);
  if (own.empty() && snapshot.empty()) return absl::OkStatus();
  ByteReader reader(snapshot);
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t hash, reader.Get<uint64_t>());
  if (hash != Hash64(snapshot.subspan(8)))
    return DataLoss("codec snapshot: expected its own checksum, got another");
  for (PartState* state : states_) ISTHMUS_RETURN_IF_ERROR(state->Restore(&reader));
  if (reader.remaining() == 0) return absl::OkStatus();
  return InvalidArgument("codec snapshot: expected the end, got ", reader.remaining(),
                         " more bytes");
}

uint64_t PartStates::Hash() const {
  uint64_t hash = 0;
  for (const PartState* state : states_) {
    const uint64_t own = state->Hash();
    if (own != 0) hash = hash * 0x9E3779B97F4A7C15u + own;
  }
  return hash;
}

int64_t PartStates::StateBytes() const {
  int64_t bytes = 0;
  for (const PartState* state : states_) bytes += state->StateBytes();
  return bytes;
}

std::unique_ptr<Decoder> MakePlainDecoder(const Composition& composition, const EdgeShape& shape) {
  return std::make_unique<ComposedDecoder>(composition, shape);
}

PartFrame WholeFrame(const FrameContext& context, int64_t rows, int64_t width) {
  return {context.step, context.training, context.samples, static_cast<size_t>(rows),
          static_cast<size_t>(width)};
}

absl::StatusOr<std::shared_ptr<const Codec>> MakeComposedCodec(std::string text,
                                                               Composition composition) {
  if (const ComposedPart* part = composition.Find(PartStage::kPredictor)) {
    ISTHMUS_RETURN_IF_ERROR(
        static_cast<const PredictorSpec*>(part->spec.get())->CheckBehind(composition));
  }
  return std::make_shared<ComposedCodec>(std::move(text), std::move(composition));
}

}  // namespace isthmus
