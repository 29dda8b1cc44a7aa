#include "pipeline/edge_codec.h"

#include "base/bytes.h"
#include "base/status.h"

namespace isthmus {
namespace {

static_assert(static_cast<int>(EdgeMode::kTrain) == static_cast<int>(Traffic::kTraining) &&
              static_cast<int>(EdgeMode::kGenerate) == static_cast<int>(Traffic::kGeneration));

Traffic TrafficOf(EdgeMode mode) {
  return mode == EdgeMode::kProbe ? Traffic::kTraining : static_cast<Traffic>(mode);
}

// Far above any real micro-batch; keeps a peer from asking for the whole memory.
constexpr int64_t kMaxTokens = int64_t{1} << 24;

std::vector<SampleRows> RowsOf(const MicroBatch& mb) {
  std::vector<SampleRows> rows;
  rows.reserve(mb.samples.size());
  int64_t begin = 0;
  for (size_t i = 0; i < mb.samples.size(); ++i) {
    rows.push_back({mb.samples[i], begin, mb.lengths[i]});
    begin += mb.lengths[i];
  }
  return rows;
}

FrameContext ContextOf(const MicroBatch& mb, EdgeMode mode, absl::Span<const SampleRows> rows,
                       const EdgeHints& hints = {}) {
  FrameContext context;
  context.step = mb.step;
  context.micro_batch = mb.index;
  context.training = mode == EdgeMode::kTrain;
  context.samples = rows;
  context.row_ids = hints.row_ids;
  if (!hints.earlier.empty()) context.earlier_TD = hints.earlier.floats();
  return context;
}

uint8_t FlagsOf(EdgeMode mode) {
  switch (mode) {
    case EdgeMode::kTrain:
      return 0;
    case EdgeMode::kEval:
    case EdgeMode::kUncompressed:
    case EdgeMode::kProbe:
      return FrameHeader::kEvaluation;
    case EdgeMode::kGenerate:
      return FrameHeader::kGeneration;
  }
  return 0;
}

absl::Status ReadSamples(ByteReader* reader, MicroBatch* mb) {
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t samples, reader->GetVarint());
  if (samples == 0 || samples > reader->remaining() / 9)
    return InvalidArgument("edge frame: expected 1 to ", reader->remaining() / 9, " samples, got ",
                           samples);
  mb->samples.clear();
  mb->lengths.clear();
  int64_t tokens = 0;
  for (uint64_t i = 0; i < samples; ++i) {
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t length, reader->GetVarint());
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t id, reader->Get<uint64_t>());
    if (length == 0 || length > static_cast<uint64_t>(kMaxTokens) ||
        (tokens += static_cast<int64_t>(length)) > kMaxTokens)
      return InvalidArgument("edge frame: expected 1 to ", kMaxTokens, " tokens, got ", length,
                             " (sample ", i, ")");
    mb->samples.push_back(id);
    mb->lengths.push_back(static_cast<int32_t>(length));
  }
  return absl::OkStatus();
}

}  // namespace

void EdgeUse::Add(const EdgeUse& o) {
  elements += o.elements;
  frames += o.frames;
  payload_bytes += o.payload_bytes;
  side_bytes += o.side_bytes;
  header_bytes += o.header_bytes;
  key_frames += o.key_frames;
  resends += o.resends;
  resend_bytes += o.resend_bytes;
}

absl::StatusOr<std::unique_ptr<EdgeSender>> EdgeSender::Make(const std::string& codec,
                                                             const EdgeShape& shape,
                                                             uint32_t generation) {
  auto sender = std::unique_ptr<EdgeSender>(new EdgeSender);
  sender->shape_ = shape;
  sender->generation_ = generation;
  ISTHMUS_ASSIGN_OR_RETURN(const auto parsed, Codec::Parse(codec));
  ISTHMUS_ASSIGN_OR_RETURN(sender->encoder_, parsed->MakeEncoder(shape));
  ISTHMUS_ASSIGN_OR_RETURN(const auto identity, Codec::Parse("none"));
  ISTHMUS_ASSIGN_OR_RETURN(sender->identity_, identity->MakeEncoder(shape));
  return sender;
}

absl::StatusOr<Frame> EdgeSender::Encode(const MicroBatch& mb, const Tensor& tensor, EdgeMode mode,
                                         bool tls, const EdgeHints& hints) {
  Frame frame;
  FrameHeader& h = frame.header;
  h.kind = shape_.direction == Direction::kForward ? FrameKind::kActivation : FrameKind::kGradient;
  h.direction = static_cast<uint8_t>(shape_.direction);
  h.flags = FlagsOf(mode);
  h.edge = static_cast<uint16_t>(shape_.edge);
  h.generation = generation_;
  h.step = mb.step;
  h.micro_batch = mb.index;
  if (shape_.direction == Direction::kForward) {
    ByteWriter writer(&frame.payload);
    writer.PutVarint(mb.samples.size());
    for (size_t i = 0; i < mb.samples.size(); ++i) {
      writer.PutVarint(static_cast<uint64_t>(mb.lengths[i]));
      writer.Put(mb.samples[i]);
    }
  }
  const int64_t described = static_cast<int64_t>(frame.payload.size());
  const std::vector<SampleRows> rows = RowsOf(mb);
  Encoder* encoder = mode == EdgeMode::kUncompressed ? identity_.get() : encoder_.get();
  absl::StatusOr<EncodedSize> size =
      encoder->Encode(tensor.floats(), ContextOf(mb, mode, rows, hints), &frame.payload);
  if (!size.ok())
    return Annotate(size.status(), absl::StrCat("edge ", shape_.edge, " ", Name(shape_.direction),
                                                ", step ", mb.step, ", micro-batch ", mb.index));
  EdgeUse& use = use_[static_cast<size_t>(TrafficOf(mode))];
  use.elements += tensor.num_elements();
  use.frames += 1;
  use.payload_bytes += size->payload_bytes;
  const int64_t side_bytes = size->side_bytes + described;
  use.side_bytes += side_bytes;
  use.header_bytes += WireHeaderBytes(static_cast<int64_t>(frame.payload.size()), tls);
  use.key_frames += size->key_frames;
  frame.account = {true, h.edge, h.direction, static_cast<uint8_t>(TrafficOf(mode)),
                   static_cast<uint32_t>(side_bytes)};
  return frame;
}

absl::Status EdgeSender::ObserveGradient(const MicroBatch& mb, const Tensor& gradient) {
  const std::vector<SampleRows> rows = RowsOf(mb);
  return encoder_->ObserveGradient(gradient.floats(), ContextOf(mb, EdgeMode::kTrain, rows));
}

EdgeUse EdgeSender::TakeUse(Traffic traffic) {
  return std::exchange(use_[static_cast<size_t>(traffic)], {});
}

absl::StatusOr<std::unique_ptr<EdgeReceiver>> EdgeReceiver::Make(const std::string& codec,
                                                                 const EdgeShape& shape) {
  auto receiver = std::unique_ptr<EdgeReceiver>(new EdgeReceiver);
  receiver->shape_ = shape;
  ISTHMUS_ASSIGN_OR_RETURN(const auto parsed, Codec::Parse(codec));
  ISTHMUS_ASSIGN_OR_RETURN(receiver->decoder_, parsed->MakeDecoder(shape));
  ISTHMUS_ASSIGN_OR_RETURN(const auto identity, Codec::Parse("none"));
  ISTHMUS_ASSIGN_OR_RETURN(receiver->identity_, identity->MakeDecoder(shape));
  return receiver;
}

absl::StatusOr<Tensor> EdgeReceiver::Decode(const Frame& frame, EdgeMode mode, MicroBatch* mb,
                                            const EdgeHints& hints) {
  ByteReader reader(frame.payload);
  if (shape_.direction == Direction::kForward) {
    mb->step = frame.header.step;
    mb->index = frame.header.micro_batch;
    ISTHMUS_RETURN_IF_ERROR(ReadSamples(&reader, mb));
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto bytes, reader.GetBytes(reader.remaining()));
  Tensor tensor(DType::kF32, {mb->tokens(), shape_.width});
  const std::vector<SampleRows> rows = RowsOf(*mb);
  Decoder* decoder = mode == EdgeMode::kUncompressed ? identity_.get() : decoder_.get();
  const absl::Status status =
      decoder->Decode(bytes, ContextOf(*mb, mode, rows, hints), tensor.mutable_floats());
  if (!status.ok())
    return Annotate(status, absl::StrCat("edge ", shape_.edge, " ", Name(shape_.direction),
                                         ", step ", mb->step, ", micro-batch ", mb->index));
  return tensor;
}

}  // namespace isthmus
