// The sending end of an ecq edge.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/status.h"
#include "compression/band_threads.h"
#include "compression/ecq_band_encoder.h"
#include "compression/ecq_frame.h"
#include "compression/ecq_sensitivity.h"
#include "compression/ecq_snapshot.h"
#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"

namespace isthmus {
namespace {

class EcqEncoder final : public Encoder {
 public:
  EcqEncoder(const EcqOptions& options, const EdgeShape& shape, std::unique_ptr<SlotMemory> rows)
      : options_(options),
        shape_(shape),
        width_(static_cast<size_t>(shape.width)),
        forward_(shape.direction == Direction::kForward),
        state_(options, shape, std::move(rows)),
        places_(options, shape, &state_),
        visits_(options, shape, &state_),
        control_(options, shape),
        sampling_(options, shape),
        sensitivity_(options, shape),
        histogram_(kEcqTables * kRansSymbols) {
    for (size_t b = 0; b < EcqBands(width_); ++b)
      bands_.emplace_back(shape, EcqBandOf(width_, b), &state_);
  }

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, x_TD.size()));
    ISTHMUS_RETURN_IF_ERROR(CheckEcqContext(shape_, context, rows));
    const Extent extent = control_.Look(x_TD.data(), static_cast<size_t>(rows));
    if (extent.magnitude > kLargestMagnitude) return NonFiniteError(shape_, context, x_TD);
    const size_t start = out->size();
    const uint8_t flags = WriteHead(context, out);
    EncodedSize size;
    if (now_.forget) size.key_frames = static_cast<int32_t>(context.samples.size());
    if (x_TD.empty() || extent.lo == extent.hi) {
      WriteConstant(x_TD.empty() ? 0.0f : x_TD[0], start, out);
      ids_.clear();
    } else if (!WriteCoded(x_TD, context, start, out, &size)) {
      out->resize(start + HeadBytes(flags));
      (*out)[start] = static_cast<uint8_t>((*out)[start] | kEcqRaw);
      const auto* raw = reinterpret_cast<const uint8_t*>(x_TD.data());
      out->insert(out->end(), raw, raw + x_TD.size() * sizeof(float));
      size.payload_bytes = static_cast<int64_t>(x_TD.size() * sizeof(float));
      ids_.clear();
    }
    size.side_bytes = static_cast<int64_t>(out->size() - start) - size.payload_bytes;
    if (context.training) FinishTraining(absl::MakeConstSpan(*out).subspan(start));
    return size;
  }

  absl::Status ObserveGradient(absl::Span<const float> g_TD, const FrameContext& context) override {
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, g_TD.size()).status());
    if (WantsGradient() && context.training) sensitivity_.Observe(g_TD, context.micro_batch);
    return absl::OkStatus();
  }
  bool WantsGradient() const override { return sensitivity_.active(); }
  void SetQualityOffset(double db) override { control_.SetOffset(db); }
  absl::Span<const uint32_t> RowIds() const override { return ids_; }

  absl::Status CommitStep(uint64_t) override {
    state_.Commit();
    if (WantsGradient()) sensitivity_.Commit();
    boundary_ = now_;
    control_.Commit();
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    state_.Rollback();
    sensitivity_.Rollback();
    now_ = boundary_;
    control_.Rollback();
    return absl::OkStatus();
  }
  void RequestKeyFrames() override {
    state_.Clear();
    control_.Clear();
    sensitivity_.Forget();
    now_.forget = boundary_.forget = true;
  }
  absl::Status Snapshot(Bytes* out) const override {
    return WriteEcqSnapshot(state_, out, [&](Bytes* body) {
      ByteWriter(body).Put(static_cast<uint8_t>(now_.forget));
      control_.Write(body);
      sensitivity_.Write(body);
    });
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    Progress restored;
    ISTHMUS_RETURN_IF_ERROR(ReadEcqSnapshot(snapshot, &state_, [&](ByteReader* body) {
      const auto forget = body->Get<uint8_t>();
      restored.forget = forget.ok() && *forget != 0;
      return forget.ok() && control_.Read(body) && sensitivity_.Read(body);
    }));
    now_ = boundary_ = restored;
    return absl::OkStatus();
  }
  uint64_t StateHash() const override { return state_.Hash(); }
  int64_t StateBytes() const override { return state_.StateBytes() + sensitivity_.StateBytes(); }

 private:
  struct Progress {
    bool forget = false;  // the next training frame tells the other end to start as new
  };

  static size_t HeadBytes(uint8_t flags) { return (flags & kEcqCheck) != 0 ? 7 : 3; }

  uint8_t WriteHead(const FrameContext& context, Bytes* out) {
    uint8_t flags = now_.forget ? kEcqForget : 0;
    const bool check =
        context.training && state_.core.frames % kEcqCheckEvery == kEcqCheckEvery - 1;
    if (check) flags |= kEcqCheck;
    ByteWriter writer(out);
    writer.Put(flags);
    writer.Put(static_cast<uint16_t>(state_.core.lineage));
    if (check) writer.Put(static_cast<uint32_t>(state_.CheckHash()));
    return flags;
  }

  void WriteConstant(float value, size_t start, Bytes* out) {
    (*out)[start] = static_cast<uint8_t>((*out)[start] | kEcqConstant);
    ByteWriter writer(out);
    writer.Put(value);
    writer.Put(ConstantGuard(value));
  }

  void FinishTraining(absl::Span<const uint8_t> frame) {
    state_.FinishTraining(frame);
    now_.forget = false;
  }

  // False where the values' range is beyond what codes reach; the state is then as before.
  bool WriteCoded(absl::Span<const float> x_TD, const FrameContext& context, size_t start,
                  Bytes* out, EncodedSize* size) {
    const float* x = x_TD.data();
    const size_t rows = x_TD.size() / width_;
    error_.clear();
    if (sampling_.active()) {
      x = sampling_.Draw(x_TD, context);
      control_.Look(x, rows);
    }
    const int8_t* weights = context.training ? sensitivity_.pending() : state_.core.weights.data();
    if (!control_.BeginFrame(sampling_.kept(rows), context, weights)) return false;
    if (context.training && sensitivity_.wants_errors())
      error_ = sensitivity_.errors()->Take(x_TD.size());
    for (;;) {
      state_.BeginFrame();
      const bool reached = CodeRows(x, rows, context);
      if (reached && control_.Accepts(Measured())) break;
      state_.AbandonFrame();
      if (!reached) return false;
    }
    if (!error_.empty()) sensitivity_.errors()->Keep(context.micro_batch, std::move(error_));
    error_.clear();
    Emit(start, out, size);
    ids_.assign(places_.ids().begin(), places_.ids().end());
    if (context.training) {
      visits_.FinishFrame(context);
      state_.tables.Learn(histogram_.data());
      control_.Learn(context);
      if (weights_sent_) sensitivity_.Sent();
    } else {
      state_.AbandonFrame();
    }
    return true;
  }

  EcqMeasure Measured() const {
    EcqMeasure measure;
    for (const EcqBandEncoder& band : bands_) measure.Add(band.measure());
    for (const RawBitWriter& raw : raw_) measure.bits += static_cast<double>(raw.BitCount());
    measure.bits += side_bits_;
    return measure;
  }

  // One pass over the rows with the step that control_ says. False when a code or value is out of
  // reach.
  bool CodeRows(const float* x, size_t rows, const FrameContext& context) {
    side_.Clear();
    weights_sent_ = context.training && sensitivity_.has_pending();
    if (weights_sent_) sensitivity_.Put(&state_.core, &side_);
    centroids_.clear();
    if (forward_) control_.UpdateCentroids(&state_.tables, &centroids_);
    if (forward_) places_.Assign(context, shape_.shared_row_ids ? nullptr : &side_);
    visits_.BeginFrame(context);
    streams_ = EcqStreams(rows, width_);
    float* errors = error_.empty() ? nullptr : error_.data();
    const EcqFrameInput input = {x,          rows,     &context, &control_,
                                 &sampling_, &places_, &visits_, errors};
    for (RawBitWriter& raw : raw_) raw.Clear();
    for (size_t b = 0; b < bands_.size(); ++b) {
      bands_[b].BeginFrame(input);
      bands_[b].set_raw(&raw_[streams_ > 1 ? b : 0]);
    }
    state_.core.step = control_.step();
    std::array<bool, kEcqMostBands> reached;
    reached.fill(true);
    InStreams([&](size_t b) { reached[b] = bands_[b].Code(); });
    if (std::find(reached.begin(), reached.end(), false) != reached.end()) return false;
    PutModes();
    std::fill(histogram_.begin(), histogram_.end(), 0u);
    for (const EcqBandEncoder& band : bands_) {
      for (size_t i = 0; i < histogram_.size(); ++i) histogram_[i] += band.histogram()[i];
    }
    return true;
  }

  // All bands: at once where each has its stream, else one after the other.
  void InStreams(absl::FunctionRef<void(size_t)> work) {
    if (streams_ > 1) return ForBands(bands_.size(), work);
    for (size_t b = 0; b < bands_.size(); ++b) work(b);
  }

  // Modes are sent where there is a choice; which gradients are dropped is one choice for all
  // bands.
  void PutModes() {
    for (size_t b = 0; b < (forward_ ? bands_.size() : 1); ++b) {
      size_t before = kEcqMean;
      for (const EcqMode mode : bands_[b].modes()) {
        side_.Put(&state_.core.mode_counts[before], mode);
        before = mode;
      }
    }
    side_bits_ = side_.Bits();
  }

  void Emit(size_t start, Bytes* out, EncodedSize* size) {
    ByteWriter writer(out);
    if (weights_sent_) (*out)[start] |= kEcqHasWeights;
    if (!centroids_.empty()) (*out)[start] |= kEcqHasCentroids;
    writer.Put(Bf16FromFloat(control_.step()));
    writer.Put(control_.start());
    if (!centroids_.empty()) {
      writer.PutVarint(centroids_.size());
      for (const EcqCentroid& update : centroids_) {
        writer.Put(update.table);
        writer.Put(update.level);
        writer.Put(update.value);
      }
    }
    side_.Finish(out);
    const size_t before = out->size();
    const size_t bands_each = bands_.size() / streams_;
    ForBands(streams_, [&](size_t s) { CodeStream(s, bands_each); });
    for (size_t s = 0; s < streams_; ++s) {
      const absl::Span<const uint8_t> raw = raw_[s].Flush();
      writer.PutVarint(raw.size());
      writer.PutBytes(raw);
      if (s + 1 < streams_) writer.PutVarint(coders_[s].FinishedBytes());
      coders_[s].Finish(out);
    }
    size->payload_bytes = static_cast<int64_t>(out->size() - before);
  }

  // The symbols of `n` bands from the first on as one stream.
  void CodeStream(size_t first, size_t n) {
    size_t symbols = 0;
    for (size_t b = first; b < first + n; ++b) symbols += bands_[b].symbols();
    coders_[first].Begin(RansStatesFor(symbols), symbols);
    for (size_t b = first + n; b-- > first;) bands_[b].PutSymbols(&coders_[first]);
  }

  const EcqOptions options_;
  const EdgeShape shape_;
  const size_t width_;
  const bool forward_;
  EcqState state_;
  EcqPlaces places_;
  EcqVisits visits_;
  EcqControl control_;
  EcqSampling sampling_;
  EcqSensitivity sensitivity_;
  std::vector<EcqBandEncoder> bands_;
  Progress now_, boundary_;

  // Of the frame in work.
  SideEncoder side_;
  size_t streams_ = 1;
  std::array<RawBitWriter, kEcqMostBands> raw_;
  std::array<RansEncoder, kEcqMostBands> coders_;
  std::vector<EcqCentroid> centroids_;
  std::vector<uint32_t> ids_, histogram_;
  std::vector<float> error_;  // gates: what the frame is off by
  double side_bits_ = 0.0;
  bool weights_sent_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Encoder>> MakeEcqEncoder(const EcqOptions& options,
                                                        const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckEcqShape(options, shape));
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<SlotMemory> rows, MakeEcqRows(options, shape));
  return std::make_unique<EcqEncoder>(options, shape, std::move(rows));
}

}  // namespace isthmus
