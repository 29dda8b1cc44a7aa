// The receiving end of an ecq edge: trusts nothing, and a refused frame leaves everything as it
// was.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"
#include "compression/band_threads.h"
#include "compression/ecq_band_decoder.h"
#include "compression/ecq_frame.h"
#include "compression/ecq_sensitivity.h"
#include "compression/ecq_snapshot.h"
#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"

namespace isthmus {
namespace {

// Everything that a decoder works on; an evaluation frame against a new state has its own.
class EcqReceiver {
 public:
  EcqReceiver(const EcqOptions& options, const EdgeShape& shape, std::unique_ptr<SlotMemory> rows)
      : state(options, shape, std::move(rows)),
        options_(options),
        shape_(shape),
        width_(static_cast<size_t>(shape.width)),
        forward_(shape.direction == Direction::kForward),
        places_(options, shape, &state),
        visits_(options, shape, &state),
        histogram_(kEcqTables * kRansSymbols) {
    for (size_t b = 0; b < EcqBands(width_); ++b)
      bands_.emplace_back(shape, EcqBandOf(width_, b), &state);
  }

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
    rows_ = context.samples.empty()
                ? 0
                : static_cast<size_t>(context.samples.back().begin + context.samples.back().tokens);
    ISTHMUS_RETURN_IF_ERROR(ReadSide(flags, in, context));
    ISTHMUS_RETURN_IF_ERROR(ReadStreams(in, context));
    visits_.BeginFrame(context);
    const EcqFrameOutput output = {out, rows_, &context, &places_, &visits_, step, start};
    for (size_t b = 0; b < bands_.size(); ++b) {
      const size_t first = forward_ ? b * rows_ : 0;
      bands_[b].BeginFrame(output, absl::MakeConstSpan(modes_).subspan(first, rows_));
    }
    state.core.step = step;
    std::array<bool, kEcqMostBands> good;
    good.fill(true);
    if (num_streams_ > 1) {
      ForBands(bands_.size(), [&](size_t b) { good[b] = bands_[b].Decode(&streams_[b]); });
    } else {
      for (size_t b = 0; b < bands_.size() && good[0]; ++b)
        good[0] = bands_[b].Decode(&streams_[0]);
    }
    if (std::find(good.begin(), good.end(), false) != good.end())
      return Corrupt(context, "codes and values in range", "others");
    for (size_t s = 0; s < num_streams_; ++s) {
      if (!streams_[s].coder.Finish() || !streams_[s].raw.Finish())
        return Corrupt(context, "the coder's first states at the end", "others");
    }
    if (context.training) Learn(context);
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
    modes_.clear();
    for (size_t b = 0; b < (forward_ ? bands_.size() : 1); ++b) {
      size_t before = kEcqMean;
      for (size_t row = 0; good && row < rows_; ++row) {
        before = side.Get(&state.core.mode_counts[before]);
        modes_.push_back(static_cast<uint8_t>(before));
      }
    }
    size_t used = 0;
    if (!good || !side.Finish(&used)) return Corrupt(context, "slots and modes", "other bytes");
    return in->GetBytes(used).status();
  }

  // Each: varint n | n bytes of raw bits | varint n, but for the last | n bytes of coded symbols
  absl::Status ReadStreams(ByteReader* in, const FrameContext& context) {
    const size_t sent = static_cast<size_t>(
        std::count_if(modes_.begin(), modes_.end(), [](uint8_t m) { return m != kEcqDropped; }));
    const size_t sent_rows = forward_ ? rows_ : sent;
    num_streams_ = EcqStreams(rows_, width_);
    for (size_t s = 0; s < num_streams_; ++s) {
      ISTHMUS_ASSIGN_OR_RETURN(const uint64_t raw_bytes, in->GetVarint());
      ISTHMUS_ASSIGN_OR_RETURN(const auto raw, in->GetBytes(raw_bytes));
      uint64_t coded_bytes = in->remaining();
      if (s + 1 < num_streams_) {
        ISTHMUS_ASSIGN_OR_RETURN(coded_bytes, in->GetVarint());
      }
      ISTHMUS_ASSIGN_OR_RETURN(const auto coded, in->GetBytes(coded_bytes));
      const size_t columns = num_streams_ > 1 ? EcqBandOf(width_, s).width : width_;
      streams_[s].raw = RawBitReader(raw);
      if (!streams_[s].coder.Begin(coded, RansStatesFor(sent_rows * columns)))
        return Corrupt(context, "an entropy coder's states", absl::StrCat(coded.size(), " bytes"));
    }
    return absl::OkStatus();
  }

  void Learn(const FrameContext& context) {
    visits_.FinishFrame(context);
    std::fill(histogram_.begin(), histogram_.end(), 0u);
    for (const EcqBandDecoder& band : bands_) {
      for (size_t i = 0; i < histogram_.size(); ++i) histogram_[i] += band.histogram()[i];
    }
    state.tables.Learn(histogram_.data());
  }

  const EcqOptions options_;
  const EdgeShape shape_;
  const size_t width_;
  const bool forward_;
  EcqPlaces places_;
  EcqVisits visits_;
  std::vector<EcqBandDecoder> bands_;
  // Of the frame in work.
  size_t rows_ = 0, num_streams_ = 1;
  std::array<EcqStream, kEcqMostBands> streams_;
  std::vector<uint8_t> modes_;
  std::vector<uint32_t> histogram_, ids_;
};

class EcqDecoder final : public Decoder {
 public:
  EcqDecoder(const EcqOptions& options, const EdgeShape& shape, std::unique_ptr<SlotMemory> rows)
      : options_(options), shape_(shape), now_(options, shape, std::move(rows)) {}

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
    auto fresh = std::make_unique<EcqReceiver>(options_, shape_, MakeRamSlots());
    if (lineage != 0) return CorruptFrame(shape_, context, "no lineage", absl::StrCat(lineage));
    ISTHMUS_RETURN_IF_ERROR(Receive(fresh.get(), flags, bytes, &reader, context, out_TD));
    ids_.assign(fresh->ids().begin(), fresh->ids().end());
    if (!context.training) return absl::OkStatus();
    // What a rollback goes back to is the new state before this frame.
    now_.state.Adopt(std::move(fresh->state));
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
    ids_.assign(receiver->ids().begin(), receiver->ids().end());
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
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<SlotMemory> rows, MakeEcqRows(options, shape));
  return std::make_unique<EcqDecoder>(options, shape, std::move(rows));
}

}  // namespace isthmus
