// The sending end of an ecq edge.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"
#include "base/status.h"
#include "compression/ecq_control.h"
#include "compression/ecq_frame.h"
#include "compression/ecq_kernels.h"
#include "compression/ecq_raw_bits.h"
#include "compression/ecq_sampling.h"
#include "compression/ecq_snapshot.h"
#include "compression/ecq_wire.h"
#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/row_noise.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

class EcqEncoder final : public Encoder {
 public:
  EcqEncoder(const EcqOptions& options, const EdgeShape& shape)
      : options_(options),
        shape_(shape),
        width_(static_cast<size_t>(shape.width)),
        forward_(shape.direction == Direction::kForward),
        state_(options, shape),
        rows_(shape, &state_),
        places_(options, shape, &state_),
        store_rows_(StoreType::kBf16, shape.width),
        noise_(shape),
        control_(options, shape),
        sampling_(options, shape),
        sensitivity_(width_),
        q_(width_),
        x_hat_(width_),
        histogram_(kEcqTables * kRansSymbols) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, x_TD.size()));
    ISTHMUS_RETURN_IF_ERROR(CheckEcqContext(shape_, context, rows));
    const Extent extent = ScanExtent(x_TD.data(), x_TD.size());
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
    if (WantsGradient() && context.training) sensitivity_.Observe(g_TD);
    return absl::OkStatus();
  }
  bool WantsGradient() const override { return options_.sensitivity && forward_; }
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
  int64_t StateBytes() const override { return state_.StateBytes(); }

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
    if (sampling_.active()) x = sampling_.Draw(x_TD, context);
    const size_t rows = x_TD.size() / width_;
    const int8_t* weights = context.training ? sensitivity_.pending() : state_.core.weights.data();
    if (!control_.BeginFrame(x, rows, sampling_.kept(rows), context, weights)) return false;
    for (;;) {
      state_.BeginFrame();
      const bool reached = CodeRows(x, context);
      if (reached && control_.Accepts(Measured())) break;
      state_.AbandonFrame();
      if (!reached) return false;
    }
    Emit(start, context, out, size);
    ids_.assign(places_.ids().begin(), places_.ids().end());
    if (context.training) {
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
    measure.error = error_;
    measure.elements = elements_;
    measure.bits = static_cast<double>(raw_.BitCount()) + side_bits_;
    const RansTables& rans = state_.tables.rans();
    for (size_t i = 0; i < histogram_.size(); ++i) {
      if (histogram_[i] == 0) continue;
      const uint32_t frequency = rans.ranges(0)[i] >> 16;
      measure.bits += histogram_[i] * (12.0 - std::log2(static_cast<double>(frequency)));
    }
    return measure;
  }

  // One pass over the rows with the step that control_ says. False when a code or value is out of
  // reach.
  bool CodeRows(const float* x, const FrameContext& context) {
    side_.Clear();
    raw_.Clear();
    ops_.clear();
    modes_.clear();
    std::fill(histogram_.begin(), histogram_.end(), 0u);
    error_ = 0.0;
    elements_ = 0;
    weights_sent_ = context.training && sensitivity_.has_pending();
    if (weights_sent_) sensitivity_.Put(&state_.core, &side_);
    centroids_ = forward_ ? control_.CentroidUpdates(&state_.tables) : std::vector<EcqCentroid>();
    if (forward_) places_.Assign(context, shape_.shared_row_ids ? nullptr : &side_);
    rows_.BeginFrame(control_.step(), control_.start());
    noise_.Begin(context.step, context.samples);
    for (const SampleRows& sample : context.samples) {
      if (!CodeSample(x, sample, context)) return false;
    }
    PutModes();
    for (const uint16_t op : ops_) ++histogram_[op];
    return true;
  }

  bool CodeSample(const float* x, const SampleRows& sample, const FrameContext& context) {
    rows_.BeginSample();
    const bool visited = context.training && ReadEcqVisit(state_, sample, &store_rows_, &visit_);
    const bool keeps = context.training && forward_ && StoresSamples(options_, shape_);
    const size_t begin = static_cast<size_t>(sample.begin);
    const size_t tokens = static_cast<size_t>(sample.tokens);
    if (keeps) Room(&decoded_, tokens * width_);
    for (size_t t = 0; t < tokens; ++t) {
      EcqRows::Source source;
      source.has_slot = forward_ && places_.has(begin + t);
      if (source.has_slot) source.slot = places_.at(begin + t).slot;
      if (visited) source.sample = visit_.data() + t * width_;
      if (!context.earlier_TD.empty())
        source.earlier = context.earlier_TD.data() + (begin + t) * width_;
      if (!CodeRow(x + (begin + t) * width_, begin + t, source)) return false;
      if (keeps) std::memcpy(decoded_.data() + t * width_, x_hat_.data(), width_ * sizeof(float));
    }
    if (keeps) PutEcqVisit(&state_, sample, &store_rows_, decoded_.data(), &packed_);
    return true;
  }

  EcqMode ChooseMode(const float* x, size_t row, const EcqRows::Source& source) {
    if (!forward_) return sampling_.active() && !sampling_.keeps(row) ? kEcqDropped : kEcqMean;
    EcqMode best = kEcqMean;
    double least = EcqRoughBits(x, rows_.Predict(kEcqMean, source), rows_.inverse_steps(), width_);
    const auto consider = [&](EcqMode mode) {
      const double bits =
          EcqRoughBits(x, rows_.Predict(mode, source), rows_.inverse_steps(), width_);
      if (bits >= least) return;
      least = bits;
      best = mode;
    };
    if (source.has_slot && state_.slots.visits(source.slot) > 0) consider(kEcqSlot);
    if (source.sample != nullptr) consider(kEcqSample);
    return best;
  }

  bool CodeRow(const float* x, size_t row, const EcqRows::Source& source) {
    const EcqMode mode = ChooseMode(x, row, source);
    modes_.push_back(mode);
    if (mode == kEcqDropped) return true;
    const float* prediction = rows_.Predict(mode, source);
    const float* dither = forward_ ? nullptr : noise_.Row(static_cast<int64_t>(row));
    rows_.BeginRow(mode);
    const size_t ops_at = ops_.size();
    ops_.resize(ops_at + width_);
    uint32_t most = 0;
    for (size_t c = 0; c < width_; c += rows_.chunk()) {
      const size_t n = std::min(rows_.chunk(), width_ - c);
      const uint8_t* classes = rows_.Classes(c, n);
      const uint32_t reach =
          forward_
              ? EcqQuantize(x + c, prediction + c, rows_.inverse_steps() + c, classes,
                            control_.thresholds(), n, q_.data() + c)
              : EcqQuantizeDithered(x + c, rows_.inverse_steps() + c, dither + c, n, q_.data() + c);
      most = std::max(most, reach);
      PutSymbols(classes, q_.data() + c, n, ops_.data() + ops_at + c);
      rows_.Coded(q_.data() + c, n);
    }
    if (most > kEcqMostReach) return false;
    if (forward_) {
      EcqReconstruct(q_.data(), prediction, rows_.steps(), rows_.row_classes(), rows_.gaps(),
                     width_, x_hat_.data());
      control_.Measure(x, prediction, rows_.inverse_steps(), rows_.row_classes(), q_.data(),
                       x_hat_.data(), &error_);
    } else {
      EcqReconstructDithered(q_.data(), rows_.steps(), dither, width_, x_hat_.data());
    }
    elements_ += static_cast<int64_t>(width_);
    if (ScanExtent(x_hat_.data(), width_).magnitude > kEcqLargestValue) return false;
    rows_.FinishRow(mode, source, q_.data(), x_hat_.data());
    return true;
  }

  void PutSymbols(const uint8_t* classes, const int32_t* q, size_t n, uint16_t* ops) {
    for (size_t i = 0; i < n; ++i) {
      const int cls = classes[i];
      const int largest = EcqLargestPlain(static_cast<size_t>(EcqTableOf(cls)));
      if (cls < kEcqPlainClasses && q[i] <= largest && q[i] >= -largest) {
        ops[i] = static_cast<uint16_t>(cls * static_cast<int>(kRansSymbols) + q[i] + largest);
      } else {
        ops[i] = PutFarSymbol(cls, q[i]);
      }
    }
  }

  // Codes beyond their table, and those of classes with low bits.
  uint16_t PutFarSymbol(int cls, int32_t q) {
    const size_t table = static_cast<size_t>(EcqTableOf(cls));
    const int low = EcqLowBits(cls), largest = EcqLargestPlain(table);
    const int32_t half = low > 0 ? 1 << (low - 1) : 0;
    const int32_t high = (q + half) >> low;
    size_t symbol = static_cast<size_t>(2 * largest + 1);
    if (std::abs(high) <= largest) {
      symbol = static_cast<size_t>(high + largest);
    } else {
      raw_.Put(high < 0 ? 1 : 0, 1);
      raw_.PutGolomb(static_cast<uint32_t>(std::abs(high) - largest - 1), kEcqGolombOrder);
    }
    if (low > 0) raw_.Put(static_cast<uint32_t>(q + half - high * (1 << low)), low);
    return static_cast<uint16_t>(table * kRansSymbols + symbol);
  }

  // Modes are sent where there is a choice.
  void PutModes() {
    size_t before = kEcqMean;
    for (const EcqMode mode : modes_) {
      side_.Put(&state_.core.mode_counts[before], mode);
      before = mode;
    }
    side_bits_ = side_.Bits();
  }

  void Emit(size_t start, const FrameContext&, Bytes* out, EncodedSize* size) {
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
    const absl::Span<const uint8_t> raw = raw_.Flush();
    writer.PutVarint(raw.size());
    writer.PutBytes(raw);
    RansEncode(state_.tables.rans(), ops_, width_, RansStatesFor(ops_.size()), &words_, out);
    size->payload_bytes = static_cast<int64_t>(out->size() - before);
  }

  const EcqOptions options_;
  const EdgeShape shape_;
  const size_t width_;
  const bool forward_;
  EcqState state_;
  EcqRows rows_;
  EcqPlaces places_;
  StoreRowFormat store_rows_;
  RowNoise noise_;
  EcqControl control_;
  EcqSampling sampling_;
  EcqSensitivity sensitivity_;
  Progress now_, boundary_;

  // Of the frame in work.
  SideEncoder side_;
  RawBitWriter raw_;
  std::vector<uint16_t> ops_, words_;
  std::vector<EcqMode> modes_;
  std::vector<EcqCentroid> centroids_;
  std::vector<uint32_t> ids_;
  std::vector<int32_t> q_;
  std::vector<float> x_hat_, visit_, decoded_;
  Bytes packed_;
  std::vector<uint32_t> histogram_;
  double error_ = 0.0, side_bits_ = 0.0;
  int64_t elements_ = 0;
  bool weights_sent_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Encoder>> MakeEcqEncoder(const EcqOptions& options,
                                                        const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckEcqShape(options, shape));
  return std::make_unique<EcqEncoder>(options, shape);
}

}  // namespace isthmus
