// The receiving end of an ecq edge: trusts nothing, and a refused frame leaves everything as it
// was.
#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"
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

// Everything that a decoder works on; an evaluation frame against a new state has its own.
class EcqReceiver {
 public:
  EcqReceiver(const EcqOptions& options, const EdgeShape& shape)
      : state(options, shape),
        options_(options),
        shape_(shape),
        width_(static_cast<size_t>(shape.width)),
        forward_(shape.direction == Direction::kForward),
        rows_(shape, &state),
        places_(options, shape, &state),
        store_rows_(StoreType::kBf16, shape.width),
        noise_(shape),
        q_(width_),
        histogram_(kEcqTables * kRansSymbols) {}

  EcqState state;

  // The part after the head. An error leaves the state to be abandoned.
  absl::Status Decode(uint8_t flags, ByteReader* in, const FrameContext& context, float* out) {
    ISTHMUS_ASSIGN_OR_RETURN(const uint16_t step_bits, in->Get<uint16_t>());
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t start, in->Get<uint8_t>());
    const float step = FloatFromBf16(step_bits);
    if (!(step >= kEcqLeastStep && step <= kEcqMostStep) || start > kEcqMostStart) {
      return Corrupt(context, "a step", "another number");
    }
    if ((flags & kEcqHasCentroids) != 0) ISTHMUS_RETURN_IF_ERROR(ReadCentroids(in, context));
    ISTHMUS_RETURN_IF_ERROR(ReadSide(flags, in, context));
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t raw_bytes, in->GetVarint());
    ISTHMUS_ASSIGN_OR_RETURN(const auto raw, in->GetBytes(raw_bytes));
    ISTHMUS_ASSIGN_OR_RETURN(const auto coded, in->GetBytes(in->remaining()));
    RawBitReader bits(raw);
    const size_t sent = static_cast<size_t>(
        std::count_if(modes_.begin(), modes_.end(), [](uint8_t m) { return m != kEcqDropped; }));
    if (!rans_.Begin(coded, RansStatesFor(sent * width_)))
      return Corrupt(context, "an entropy coder's states", absl::StrCat(coded.size(), " bytes"));
    std::fill(histogram_.begin(), histogram_.end(), 0u);
    rows_.BeginFrame(step, start);
    noise_.Begin(context.step, context.samples);
    for (const SampleRows& sample : context.samples) {
      if (!DecodeSample(sample, context, &bits, out))
        return Corrupt(context, "codes and values in range", "others");
    }
    if (!rans_.Finish() || !bits.Finish())
      return Corrupt(context, "the coder's first states at the end", "others");
    if (context.training) state.tables.Learn(histogram_.data());
    ids_.assign(places_.ids().begin(), places_.ids().end());
    return absl::OkStatus();
  }

  absl::Span<const uint32_t> ids() const { return ids_; }
  void ForgetIds() { ids_.clear(); }

 private:
  absl::Status Corrupt(const FrameContext& context, absl::string_view expected,
                       absl::string_view got) const {
    return CorruptFrame(shape_, context, expected, got);
  }

  absl::Status ReadCentroids(ByteReader* in, const FrameContext& context) {
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t n, in->GetVarint());
    if (n == 0 || n > in->remaining() / 3 || n > kEcqPlainClasses * kEcqCentroids || !forward_)
      return Corrupt(context, "centroids", absl::StrCat(n, " of them"));
    for (uint64_t i = 0; i < n; ++i) {
      ISTHMUS_ASSIGN_OR_RETURN(const uint8_t table, in->Get<uint8_t>());
      ISTHMUS_ASSIGN_OR_RETURN(const uint8_t level, in->Get<uint8_t>());
      ISTHMUS_ASSIGN_OR_RETURN(const int8_t value, in->Get<int8_t>());
      if (table >= kEcqPlainClasses || level >= kEcqCentroids)
        return Corrupt(context, "a centroid of a class", "another");
      state.tables.set_centroid(table, level, value);
    }
    return absl::OkStatus();
  }

  absl::Status ReadSide(uint8_t flags, ByteReader* in, const FrameContext& context) {
    ByteReader ahead = *in;
    ISTHMUS_ASSIGN_OR_RETURN(const auto bytes, ahead.GetBytes(ahead.remaining()));
    SideDecoder side;
    bool good = side.Begin(bytes);
    if (good && (flags & kEcqHasWeights) != 0) good = EcqSensitivity::Get(&state.core, &side);
    if (good && forward_) {
      if (shape_.shared_row_ids) {
        places_.Assign(context, nullptr);
      } else {
        good = places_.Receive(context, &side);
      }
    }
    const size_t rows =
        context.samples.empty()
            ? 0
            : static_cast<size_t>(context.samples.back().begin + context.samples.back().tokens);
    modes_.clear();
    size_t before = kEcqMean;
    for (size_t row = 0; good && row < rows; ++row) {
      before = side.Get(&state.core.mode_counts[before]);
      modes_.push_back(static_cast<uint8_t>(before));
    }
    size_t used = 0;
    if (!good || !side.Finish(&used)) return Corrupt(context, "slots and modes", "other bytes");
    return in->GetBytes(used).status();
  }

  // Whether a mode can have been chosen.
  bool Possible(EcqMode mode, const EcqRows::Source& source) const {
    switch (mode) {
      case kEcqMean:
        return true;
      case kEcqSlot:
        return source.has_slot && state.slots.visits(source.slot) > 0;
      case kEcqSample:
        return source.sample != nullptr;
      default:
        return !forward_;
    }
  }

  bool DecodeSample(const SampleRows& sample, const FrameContext& context, RawBitReader* bits,
                    float* out) {
    rows_.BeginSample();
    const bool visited = context.training && ReadEcqVisit(state, sample, &store_rows_, &visit_);
    const size_t begin = static_cast<size_t>(sample.begin);
    const size_t tokens = static_cast<size_t>(sample.tokens);
    for (size_t t = 0; t < tokens; ++t) {
      const size_t row = begin + t;
      EcqRows::Source source;
      source.has_slot = forward_ && places_.has(row);
      if (source.has_slot) source.slot = places_.at(row).slot;
      if (visited) source.sample = visit_.data() + t * width_;
      if (!context.earlier_TD.empty()) source.earlier = context.earlier_TD.data() + row * width_;
      const EcqMode mode = static_cast<EcqMode>(modes_[row]);
      if (!Possible(mode, source)) return false;
      if (mode == kEcqDropped) {
        std::fill(out + row * width_, out + (row + 1) * width_, 0.0f);
      } else if (!DecodeRow(mode, row, source, bits, out + row * width_)) {
        return false;
      }
    }
    if (context.training && forward_ && StoresSamples(options_, shape_))
      PutEcqVisit(&state, sample, &store_rows_, out + begin * width_, &packed_);
    return true;
  }

  bool DecodeRow(EcqMode mode, size_t row, const EcqRows::Source& source, RawBitReader* bits,
                 float* out) {
    const float* prediction = rows_.Predict(mode, source);
    rows_.BeginRow(mode);
    for (size_t c = 0; c < width_; c += rows_.chunk()) {
      const size_t n = std::min(rows_.chunk(), width_ - c);
      if (!ReadCodes(rows_.Classes(c, n), c, n, bits)) return false;
      rows_.Coded(q_.data() + c, n);
    }
    if (forward_) {
      EcqReconstruct(q_.data(), prediction, rows_.steps(), rows_.row_classes(), rows_.gaps(),
                     width_, out);
    } else {
      EcqReconstructDithered(q_.data(), rows_.steps(), noise_.Row(static_cast<int64_t>(row)),
                             width_, out);
    }
    if (ScanExtent(out, width_).magnitude > kEcqLargestValue) return false;
    rows_.FinishRow(mode, source, q_.data(), out);
    return true;
  }

  bool ReadCodes(const uint8_t* classes, size_t column, size_t n, RawBitReader* bits) {
    uint8_t tables[32], symbols[32];
    for (size_t i = 0; i < n; ++i) tables[i] = static_cast<uint8_t>(EcqTableOf(classes[i]));
    rans_.Read(state.tables.rans(), tables, column, n, symbols);
    bool good = true;
    for (size_t i = 0; i < n; ++i) {
      const uint8_t table = tables[i], symbol = symbols[i];
      ++histogram_[table * kRansSymbols + symbol];
      const int largest = EcqLargestPlain(table);
      q_[column + i] = static_cast<int>(symbol) - largest;
      if (table >= kEcqPlainClasses || symbol > 2 * largest)
        good = good && ReadFarCode(classes[i], symbol, bits, &q_[column + i]);
    }
    return good;
  }

  // What the encoder put beside the coder: escapes and low bits.
  bool ReadFarCode(int cls, int symbol, RawBitReader* bits, int32_t* q) {
    const int largest = EcqLargestPlain(static_cast<size_t>(EcqTableOf(cls)));
    const int low = EcqLowBits(cls);
    int64_t code = symbol - largest;
    if (symbol > 2 * largest) {
      const bool negative = bits->Get(1) != 0;
      const uint32_t beyond = bits->GetGolomb(kEcqGolombOrder);
      if (beyond > static_cast<uint32_t>(kEcqLargestCode)) return false;
      code = largest + 1 + static_cast<int64_t>(beyond);
      if (negative) code = -code;
    }
    if (low > 0) code = code * (int64_t{1} << low) + bits->Get(low) - (int64_t{1} << (low - 1));
    *q = static_cast<int32_t>(code);
    return code <= kEcqLargestCode && code >= -kEcqLargestCode;
  }

  const EcqOptions options_;
  const EdgeShape shape_;
  const size_t width_;
  const bool forward_;
  EcqRows rows_;
  EcqPlaces places_;
  StoreRowFormat store_rows_;
  RowNoise noise_;
  RansDecoder rans_;
  std::vector<uint8_t> modes_;
  std::vector<int32_t> q_;
  std::vector<float> visit_;
  Bytes packed_;
  std::vector<uint32_t> histogram_, ids_;
};

class EcqDecoder final : public Decoder {
 public:
  EcqDecoder(const EcqOptions& options, const EdgeShape& shape)
      : options_(options), shape_(shape), now_(options, shape) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, out_TD.size()));
    ISTHMUS_RETURN_IF_ERROR(CheckEcqContext(shape_, context, rows));
    ByteReader reader(bytes);
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t flags, reader.Get<uint8_t>());
    ISTHMUS_ASSIGN_OR_RETURN(const uint16_t lineage, reader.Get<uint16_t>());
    const uint8_t known = kEcqKindMask | kEcqForget | kEcqCheck | kEcqHasWeights | kEcqHasCentroids;
    const uint8_t kind = flags & kEcqKindMask;
    const bool trained_only = (flags & (kEcqCheck | kEcqHasWeights)) != 0;
    if ((flags & ~known) != 0 || kind > kEcqRaw || (trained_only && !context.training) ||
        (kind != kEcqCoded && (flags & (kEcqHasWeights | kEcqHasCentroids)) != 0)) {
      return CorruptFrame(shape_, context, "flags of this version", absl::StrCat(flags));
    }
    const bool forget = (flags & kEcqForget) != 0;
    uint32_t check = 0;
    if ((flags & kEcqCheck) != 0) {
      ISTHMUS_ASSIGN_OR_RETURN(check, reader.Get<uint32_t>());
    }
    if (!forget) ISTHMUS_RETURN_IF_ERROR(CheckFollows(flags, lineage, check, context));
    if (!forget) return Receive(&now_, flags, bytes, &reader, context, out_TD);
    // A new state, which replaces ours when the frame is good and meant to stay.
    auto fresh = std::make_unique<EcqReceiver>(options_, shape_);
    if (lineage != 0) return CorruptFrame(shape_, context, "no lineage", absl::StrCat(lineage));
    ISTHMUS_RETURN_IF_ERROR(Receive(fresh.get(), flags, bytes, &reader, context, out_TD));
    ids_ = {fresh->ids().begin(), fresh->ids().end()};
    if (!context.training) return absl::OkStatus();
    // What a rollback goes back to is the new state before this frame.
    now_.state = std::move(fresh->state);
    lost_ = false;
    return absl::OkStatus();
  }

  absl::Span<const uint32_t> RowIds() const override { return ids_; }

  absl::Status CommitStep(uint64_t) override {
    now_.state.Commit();
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    now_.state.Rollback();
    return absl::OkStatus();
  }
  void RequestKeyFrames() override {
    now_.state.Clear();
    lost_ = true;
  }
  absl::Status Snapshot(Bytes* out) const override {
    return WriteEcqSnapshot(now_.state, out, [&](Bytes* body) { body->push_back(lost_ ? 1 : 0); });
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    bool lost = false;
    ISTHMUS_RETURN_IF_ERROR(ReadEcqSnapshot(snapshot, &now_.state, [&](ByteReader* body) {
      const auto byte = body->Get<uint8_t>();
      lost = byte.ok() && *byte != 0;
      return byte.ok();
    }));
    lost_ = lost;
    return absl::OkStatus();
  }
  uint64_t StateHash() const override { return now_.state.Hash(); }
  int64_t StateBytes() const override { return now_.state.StateBytes(); }

 private:
  // Whether the frame was coded against the state we hold.
  absl::Status CheckFollows(uint8_t flags, uint16_t lineage, uint32_t check,
                            const FrameContext& context) const {
    const uint16_t own = static_cast<uint16_t>(now_.state.core.lineage);
    if (lost_ || lineage != own) {
      return DataLoss("ecq state: expected a frame after ",
                      lost_ ? std::string("a new start") : absl::StrCat("lineage ", own),
                      ", got one after ", lineage, " ", Where(shape_, context));
    }
    if ((flags & kEcqCheck) == 0) return absl::OkStatus();
    const uint32_t ours = static_cast<uint32_t>(now_.state.CheckHash());
    if (check == ours) return absl::OkStatus();
    return DataLoss("ecq state: expected hash ", check, ", got ", ours, " ",
                    Where(shape_, context));
  }

  absl::Status Receive(EcqReceiver* receiver, uint8_t flags, absl::Span<const uint8_t> bytes,
                       ByteReader* reader, const FrameContext& context, absl::Span<float> out_TD) {
    receiver->ForgetIds();
    EcqState& state = receiver->state;
    state.BeginFrame();
    const absl::Status status = ReceiveKind(receiver, flags, reader, context, out_TD);
    if (!status.ok() || !context.training) {
      state.AbandonFrame();
      if (!status.ok()) return status;
    } else {
      state.FinishTraining(bytes);
    }
    ids_ = {receiver->ids().begin(), receiver->ids().end()};
    return absl::OkStatus();
  }

  absl::Status ReceiveKind(EcqReceiver* receiver, uint8_t flags, ByteReader* reader,
                           const FrameContext& context, absl::Span<float> out_TD) {
    switch (flags & kEcqKindMask) {
      case kEcqConstant:
        return ReceiveConstant(reader, context, out_TD);
      case kEcqRaw:
        return ReceiveRaw(reader, context, out_TD);
      default:
        if (out_TD.empty()) return CorruptFrame(shape_, context, "no coded rows", "some");
        return receiver->Decode(flags, reader, context, out_TD.data());
    }
  }

  absl::Status ReceiveConstant(ByteReader* reader, const FrameContext& context,
                               absl::Span<float> out_TD) const {
    ISTHMUS_ASSIGN_OR_RETURN(const float value, reader->Get<float>());
    ISTHMUS_ASSIGN_OR_RETURN(const uint16_t guard, reader->Get<uint16_t>());
    if (reader->remaining() != 0 || guard != ConstantGuard(value) ||
        (std::bit_cast<uint32_t>(value) & 0x7FFFFFFFu) > kLargestMagnitude) {
      return CorruptFrame(shape_, context, "one value and its guard", "other bytes");
    }
    std::fill(out_TD.begin(), out_TD.end(), value);
    return absl::OkStatus();
  }

  absl::Status ReceiveRaw(ByteReader* reader, const FrameContext& context,
                          absl::Span<float> out_TD) const {
    if (reader->remaining() != out_TD.size() * sizeof(float)) {
      return CorruptFrame(shape_, context, absl::StrCat(out_TD.size() * sizeof(float), " bytes"),
                          absl::StrCat(reader->remaining()));
    }
    ISTHMUS_ASSIGN_OR_RETURN(const auto raw, reader->GetBytes(reader->remaining()));
    if (!raw.empty()) std::memcpy(out_TD.data(), raw.data(), raw.size());
    if (ScanExtent(out_TD.data(), out_TD.size()).magnitude <= kLargestMagnitude)
      return absl::OkStatus();
    return CorruptFrame(shape_, context, "finite values", "others");
  }

  const EcqOptions options_;
  const EdgeShape shape_;
  EcqReceiver now_;
  bool lost_ = false;  // deltas are refused until a frame starts anew
  std::vector<uint32_t> ids_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> MakeEcqDecoder(const EcqOptions& options,
                                                        const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckEcqShape(options, shape));
  return std::make_unique<EcqDecoder>(options, shape);
}

}  // namespace isthmus
