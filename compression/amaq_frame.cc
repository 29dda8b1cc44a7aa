#include "compression/amaq_frame.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/status.h"
#include "compression/column_coder.h"
#include "compression/frame_check.h"
#include "compression/sent_errors.h"
#include "compression/width_table.h"

namespace isthmus {
namespace {

constexpr uint8_t kHasTable = 1;

WidthTable StartTable(const BitRange& range, const EdgeShape& shape) {
  return {
      0, std::vector<uint8_t>(static_cast<size_t>(shape.width), static_cast<uint8_t>(range.start))};
}

// A table that may be missing: after a key-frame request the decoder has none.
struct KnownTable {
  bool known = true;
  WidthTable table;
  uint64_t Hash() const { return known ? table.Hash() : 1; }
};

// u8 known | u32 version | table
void WriteTable(const KnownTable& table, Bytes* out) {
  ByteWriter writer(out);
  writer.Put(static_cast<uint8_t>(table.known));
  writer.Put(table.table.version);
  table.table.WriteBits(out);
}

absl::Status ReadTable(ByteReader* in, const BitRange& range, KnownTable* table) {
  ISTHMUS_ASSIGN_OR_RETURN(const uint8_t known, in->Get<uint8_t>());
  ISTHMUS_ASSIGN_OR_RETURN(table->table.version, in->Get<uint32_t>());
  table->known = known != 0;
  if (table->table.ReadBits(in, range.min, range.max)) return absl::OkStatus();
  return InvalidArgument("codec amaq: snapshot: expected widths from ", range.min, " to ",
                         range.max, ", got others");
}

std::unique_ptr<BitPolicy> PolicyFor(const BitRange& range, GateKind gate, const EdgeShape& shape) {
  if (shape.direction == Direction::kBackward)
    return MakeWaterFilling(range, shape.width, shape.total_steps);
  return gate == GateKind::kSoftmax ? MakeSoftmaxGate(range, shape.width, shape.total_steps)
                                    : MakeSigmoidGate(range, shape.width, shape.total_steps);
}

class AmaqEncoder final : public Encoder {
 public:
  AmaqEncoder(const BitRange& range, GateKind gate, const EdgeShape& shape)
      : range_(range),
        shape_(shape),
        gated_(shape.direction == Direction::kForward),
        coder_(shape.width, ColumnCoder::Fit::kMinMax),
        noise_(shape) {
    now_.policy = PolicyFor(range, gate, shape);
    now_.used = StartTable(range, shape);
    now_.told.table = now_.used;
    boundary_ = now_.Copy();
  }

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t tokens, CheckFrame(shape_, context, x_TD.size()));
    if (ScanExtent(x_TD.data(), x_TD.size()).magnitude > kLargestMagnitude) {
      return NonFiniteError(shape_, context, x_TD);
    }
    const size_t rows = static_cast<size_t>(tokens), start = out->size();
    WriteHead(context.training, out);
    const int64_t head = static_cast<int64_t>(out->size() - start);
    std::vector<float> error = sent_.Take(x_TD.size());
    if (!gated_) noise_.Begin(context.step, context.samples);
    EncodedSize size = coder_.Encode(x_TD.data(), rows, now_.used.bits, gated_ ? nullptr : &noise_,
                                     0, out, error.data());
    size.side_bytes += head;
    if (context.training) now_.policy->ObserveFrame(x_TD.data(), rows);
    if (context.training && gated_) {
      KeepError(x_TD, context, std::move(error));
    } else {
      sent_.GiveBack(std::move(error));
    }
    return size;
  }

  bool WantsGradient() const override { return gated_; }

  absl::Status ObserveGradient(absl::Span<const float> g_TD, const FrameContext& context) override {
    if (!gated_ || !context.training) return absl::OkStatus();
    const float* error = sent_.Find(context.micro_batch, g_TD.size());
    if (error == nullptr) {
      return InvalidArgument("codec amaq: expected the gradient of a frame that was sent, got ",
                             g_TD.size(), " values ", Where(shape_, context));
    }
    if (ScanExtent(g_TD.data(), g_TD.size()).magnitude > kLargestMagnitude) {
      return NonFiniteError(shape_, context, g_TD);
    }
    now_.policy->ObserveGradient(g_TD.data(), error, g_TD.size() / now_.used.bits.size(),
                                 now_.used.bits);
    sent_.Done(context.micro_batch);
    return absl::OkStatus();
  }

  absl::Status CommitStep(uint64_t) override {
    sent_.Drop();
    now_.policy->Step();
    now_.used.Follow(now_.policy->Bits());
    boundary_ = now_.Copy();
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    sent_.Drop();
    now_ = boundary_.Copy();
    return absl::OkStatus();
  }
  void RequestKeyFrames() override { now_.told.known = boundary_.told.known = false; }

  // u64 Hash64 of the rest | u32 version in use | its widths | told | policy
  absl::Status Snapshot(Bytes* out) const override {
    Bytes body;
    WriteTable({true, boundary_.used}, &body);
    WriteTable(boundary_.told, &body);
    ByteWriter writer(&body);
    boundary_.policy->Write(&writer);
    ByteWriter(out).Put(Hash64(body));
    out->insert(out->end(), body.begin(), body.end());
    return absl::OkStatus();
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    ByteReader reader(snapshot);
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t hash, reader.Get<uint64_t>());
    if (hash != Hash64(snapshot.subspan(8))) {
      return DataLoss("codec amaq: snapshot: expected its own checksum, got another");
    }
    State restored = boundary_.Copy();
    KnownTable used{true, restored.used};
    ISTHMUS_RETURN_IF_ERROR(ReadTable(&reader, range_, &used));
    ISTHMUS_RETURN_IF_ERROR(ReadTable(&reader, range_, &restored.told));
    ISTHMUS_RETURN_IF_ERROR(restored.policy->Read(&reader));
    restored.used = std::move(used.table);
    sent_.Drop();
    now_ = restored.Copy();
    boundary_ = std::move(restored);
    return absl::OkStatus();
  }
  uint64_t StateHash() const override { return now_.told.Hash(); }
  // Two copies of the policy, the widths in use and those told.
  int64_t StateBytes() const override { return 2 * (now_.policy->StateBytes() + 2 * shape_.width); }

 private:
  struct State {
    std::unique_ptr<BitPolicy> policy;
    WidthTable used;
    KnownTable told;  // what the other end has
    State Copy() const { return {policy->Clone(), used, told}; }
  };

  void WriteHead(bool training, Bytes* out) {
    const bool table = !now_.told.known || now_.told.table.version != now_.used.version;
    out->push_back(table ? kHasTable : 0);
    ByteWriter(out).PutVarint(now_.used.version);
    if (!table) return;
    now_.used.WriteBits(out);
    if (!training) return;
    now_.told.known = true;
    now_.told.table = now_.used;
  }

  // `decoded` becomes the error, and waits for its gradient.
  void KeepError(absl::Span<const float> x_TD, const FrameContext& context,
                 std::vector<float> decoded) {
    for (size_t i = 0; i < x_TD.size(); ++i) decoded[i] -= x_TD[i];
    for (uint32_t token : coder_.tokens_apart()) {
      const auto row = decoded.begin() + static_cast<std::ptrdiff_t>(token * now_.used.bits.size());
      std::fill_n(row, now_.used.bits.size(), 0.0f);
    }
    sent_.Keep(context.micro_batch, std::move(decoded));
  }

  const BitRange range_;
  const EdgeShape shape_;
  const bool gated_;
  ColumnCoder coder_;
  RowNoise noise_;
  State now_, boundary_;
  SentErrors sent_;  // of this step; 0 for tokens coded apart, whose width no gate sets
};

class AmaqDecoder final : public Decoder {
 public:
  AmaqDecoder(const BitRange& range, const EdgeShape& shape)
      : range_(range), shape_(shape), coder_(shape.width, ColumnCoder::Fit::kMinMax) {
    now_.table = StartTable(range, shape);
    boundary_ = now_;
    incoming_ = now_.table;
  }

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, out_TD.size()));
    ByteReader reader(bytes);
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t flags, reader.Get<uint8_t>());
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t version, reader.GetVarint());
    if (flags > kHasTable || version > UINT32_MAX) {
      return CorruptFrame(shape_, context, "flags of this version", absl::StrCat(flags));
    }
    if (flags == kHasTable) {
      if (!incoming_.ReadBits(&reader, range_.min, range_.max)) {
        return CorruptFrame(shape_, context,
                            absl::StrCat("widths from ", range_.min, " to ", range_.max), "others");
      }
      incoming_.version = static_cast<uint32_t>(version);
    } else if (!now_.known || version != now_.table.version) {
      return DataLoss("codec amaq: expected the widths of version ", version, ", got ",
                      now_.known ? absl::StrCat("version ", now_.table.version) : "none", " ",
                      Where(shape_, context));
    }
    const WidthTable& table = flags == kHasTable ? incoming_ : now_.table;
    if (!coder_.Decode(&reader, static_cast<size_t>(rows), table.bits, out_TD.data()) ||
        reader.remaining() != 0) {
      return CorruptFrame(shape_, context, "a coded matrix", "other bytes");
    }
    if (flags == kHasTable && context.training) {
      now_.known = true;
      now_.table = incoming_;
    }
    return absl::OkStatus();
  }

  absl::Status CommitStep(uint64_t) override {
    boundary_ = now_;
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    now_ = boundary_;
    return absl::OkStatus();
  }
  void RequestKeyFrames() override { now_.known = boundary_.known = false; }
  absl::Status Snapshot(Bytes* out) const override {
    WriteTable(boundary_, out);
    return absl::OkStatus();
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    ByteReader reader(snapshot);
    KnownTable restored = now_;
    ISTHMUS_RETURN_IF_ERROR(ReadTable(&reader, range_, &restored));
    now_ = boundary_ = std::move(restored);
    return absl::OkStatus();
  }
  uint64_t StateHash() const override { return now_.Hash(); }
  int64_t StateBytes() const override { return 2 * shape_.width; }

 private:
  const BitRange range_;
  const EdgeShape shape_;
  ColumnCoder coder_;
  KnownTable now_, boundary_;
  WidthTable incoming_;
};

}  // namespace

Codec::StateSize AmaqStateSize(const BitRange& range, GateKind gate, const EdgeShape& shape) {
  return {2 * (PolicyFor(range, gate, shape)->StateBytes() + 2 * shape.width), 0};
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeAmaqEncoder(const BitRange& range, GateKind gate,
                                                         const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
  return std::make_unique<AmaqEncoder>(range, gate, shape);
}

absl::StatusOr<std::unique_ptr<Decoder>> MakeAmaqDecoder(const BitRange& range,
                                                         const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
  return std::make_unique<AmaqDecoder>(range, shape);
}

}  // namespace isthmus
