// The other half of StageRunner: step boundaries, codec state on disk, shared gradients,
// generation.
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/atomic_file.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "pipeline/stage_runner.h"

namespace isthmus {
namespace {

constexpr uint32_t kCodecFileMagic = 0x43485449;  // "ITHC"

// Named by its content: a later job finds it by the hash in a checkpoint's manifest, whatever the
// job is called.
std::string CodecFile(const std::string& directory, const std::string& hash) {
  return absl::StrCat(directory, "/codecs-", hash, ".bin");
}

// Of a file of any size, a piece at a time: h = Hash64(1 MiB, h) from the first byte on.
class FileHash {
 public:
  void Add(absl::Span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const size_t count = std::min(bytes.size(), kPiece - piece_.size());
      piece_.insert(piece_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
      bytes.remove_prefix(count);
      if (piece_.size() == kPiece) EndPiece();
    }
  }
  // Nothing is added afterwards.
  std::string Text() {
    EndPiece();
    return absl::StrFormat("%016x", hash_);
  }

 private:
  static constexpr size_t kPiece = size_t{1} << 20;
  void EndPiece() {
    hash_ = Hash64(piece_, hash_);
    piece_.clear();
  }

  uint64_t hash_ = 0;
  Bytes piece_;
};

std::string HashText(absl::Span<const uint8_t> bytes) {
  FileHash hash;
  hash.Add(bytes);
  return hash.Text();
}

// A file of codec state on its way to the disk.
class CodecFileWriter {
 public:
  explicit CodecFileWriter(AtomicFile* file) : file_(file) {}
  absl::Status Put(absl::Span<const uint8_t> bytes) {
    hash_.Add(bytes);
    return file_->Append(bytes);
  }
  absl::Status PutWithLength(absl::Span<const uint8_t> bytes) {
    ISTHMUS_RETURN_IF_ERROR(PutNumber(static_cast<uint64_t>(bytes.size())));
    return Put(bytes);
  }
  template <typename T>
  absl::Status PutNumber(T number) {
    Bytes bytes;
    ByteWriter(&bytes).Put(number);
    return Put(bytes);
  }
  std::string Hash() { return hash_.Text(); }

 private:
  AtomicFile* const file_;
  FileHash hash_;
};

}  // namespace

absl::Status StageRunner::CommitCodecs(uint64_t step) {
  EndPass();
  for (auto& [index, end] : edges_) {
    ISTHMUS_RETURN_IF_ERROR(end.sender->encoder()->CommitStep(step));
    ISTHMUS_RETURN_IF_ERROR(end.receiver->decoder()->CommitStep(step));
  }
  return absl::OkStatus();
}

void StageRunner::RequestKeyFrames() {
  for (auto& [index, end] : edges_) {
    end.sender->encoder()->RequestKeyFrames();
    end.receiver->decoder()->RequestKeyFrames();
  }
}

void StageRunner::ForgetDecoderState() {
  for (auto& [index, end] : edges_) end.receiver->decoder()->RequestKeyFrames();
}

int64_t StageRunner::codec_state_bytes() const {
  int64_t bytes = 0;
  for (const auto& [index, end] : edges_)
    bytes += end.sender->encoder()->StateBytes() + end.receiver->decoder()->StateBytes();
  return bytes;
}

// What a codec's state belongs to: the place of the cut, its width and its codecs.
uint64_t StageRunner::CutId(uint32_t edge) const {
  const v1::EdgeSpec& spec = plan_.edges(static_cast<int>(edge));
  return Hash64(absl::StrCat(edge, "/", plan_.stages(static_cast<int>(edge)).last_layer(), "/",
                             spec.width(), "/", spec.codec_forward(), "/", spec.codec_backward()));
}

// magic, then per edge in ascending order: its CutId, encoder snapshot, decoder snapshot, each with
// a u64 length. One snapshot is in memory at a time: a store may be half of it.
absl::StatusOr<std::string> StageRunner::SaveCodecs(const std::string& directory) const {
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(directory));
  ISTHMUS_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(directory));
  CodecFileWriter writer(file.get());
  ISTHMUS_RETURN_IF_ERROR(writer.PutNumber(kCodecFileMagic));
  for (const auto& [index, end] : edges_) {
    ISTHMUS_RETURN_IF_ERROR(writer.PutNumber(CutId(index)));
    {
      Bytes encoder;
      ISTHMUS_RETURN_IF_ERROR(end.sender->encoder()->Snapshot(&encoder));
      ISTHMUS_RETURN_IF_ERROR(writer.PutWithLength(encoder));
    }
    Bytes decoder;
    ISTHMUS_RETURN_IF_ERROR(end.receiver->decoder()->Snapshot(&decoder));
    ISTHMUS_RETURN_IF_ERROR(writer.PutWithLength(decoder));
  }
  const std::string hash = writer.Hash();
  ISTHMUS_RETURN_IF_ERROR(file->Commit(CodecFile(directory, hash)));
  return hash;
}

absl::Status StageRunner::RestoreCodecs(const std::string& directory, const std::string& hash) {
  const std::string path = CodecFile(directory, hash);
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const auto bytes = file->bytes();
  if (const std::string got = HashText(bytes); got != hash)
    return DataLoss(path, ": expected hash ", hash, ", got ", got);
  ByteReader reader(bytes);
  ISTHMUS_ASSIGN_OR_RETURN(const uint32_t magic, reader.Get<uint32_t>());
  if (magic != kCodecFileMagic) return DataLoss(path, ": expected codec state, got something else");
  for (auto& [index, end] : edges_) {
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t cut, reader.Get<uint64_t>());
    if (cut != CutId(index))
      return DataLoss(path, ": expected the state of edge ", index,
                      ", got that of another cut or codec");
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t encoder_bytes, reader.Get<uint64_t>());
    ISTHMUS_ASSIGN_OR_RETURN(const auto encoder, reader.GetBytes(encoder_bytes));
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t decoder_bytes, reader.Get<uint64_t>());
    ISTHMUS_ASSIGN_OR_RETURN(const auto decoder, reader.GetBytes(decoder_bytes));
    ISTHMUS_RETURN_IF_ERROR(end.sender->encoder()->Restore(encoder));
    ISTHMUS_RETURN_IF_ERROR(end.receiver->decoder()->Restore(decoder));
  }
  return absl::OkStatus();
}

// Both parties compute mine + theirs: a float addition commutes, so both get the same bits.
absl::Status StageRunner::ExchangeSharedGradient(uint64_t step) {
  ISTHMUS_ASSIGN_OR_RETURN(Tensor mine, group_->SharedGradient());
  if (mine.empty()) return absl::OkStatus();
  const uint32_t peer = party_ == kClientParty ? LossParty(plan_) : kClientParty;
  Frame frame;
  frame.header.kind = FrameKind::kSharedGradient;
  frame.header.generation = plan_.generation();
  frame.header.step = step;
  const auto bytes = mine.bytes();
  frame.payload.assign(bytes.begin(), bytes.end());
  shared_use_.elements += mine.num_elements();
  shared_use_.frames += 1;
  shared_use_.payload_bytes += mine.num_bytes();
  shared_use_.header_bytes += WireHeaderBytes(mine.num_bytes(), outlet_->tls(peer));
  const Direction direction = party_ == kClientParty ? Direction::kForward : Direction::kBackward;
  frame.account = {true, static_cast<uint16_t>(plan_.edges_size()), static_cast<uint8_t>(direction),
                   static_cast<uint8_t>(Traffic::kTraining), 0};
  ISTHMUS_RETURN_IF_ERROR(outlet_->Send(peer, std::move(frame)));
  ISTHMUS_ASSIGN_OR_RETURN(const Frame theirs, Take(FrameKind::kSharedGradient, 0, 0));
  if (theirs.payload.size() != bytes.size())
    return InvalidArgument("shared gradient: expected ", bytes.size(), " bytes, got ",
                           theirs.payload.size());
  Tensor sum(DType::kF32, mine.shape());
  const auto* other = reinterpret_cast<const float*>(theirs.payload.data());
  const auto own = mine.floats();
  const auto out = sum.mutable_floats();
  for (size_t i = 0; i < out.size(); ++i) out[i] = own[i] + other[i];
  return group_->SetSharedGradient(sum);
}

absl::StatusOr<Tensor> StageRunner::Extend(uint32_t index, absl::Span<const int32_t> ids) {
  EndPass();
  pass_ = {};
  pass_.mode = EdgeMode::kGenerate;
  Tensor out;
  for (const auto& [stage, slot] : slot_of_stage_) {
    MicroBatch mb;
    mb.index = index;
    mb.samples = {0};
    mb.lengths = {static_cast<int32_t>(ids.size())};
    if (stage == 0) mb.ids.assign(ids.begin(), ids.end());
    Tensor in;
    if (stage > 0) {
      ISTHMUS_ASSIGN_OR_RETURN(Frame frame, Take(FrameKind::kActivation, stage - 1, index));
      ISTHMUS_ASSIGN_OR_RETURN(in, DecodeOn(stage - 1, std::move(frame), &mb));
    }
    {
      const int64_t start_us = NowUs();
      ISTHMUS_ASSIGN_OR_RETURN(
          out, group_->stage(slot)->Extend(stage == 0 ? ids : absl::Span<const int32_t>(), in));
      times_.compute_s += static_cast<double>(NowUs() - start_us) * 1e-6;
    }
    if (stage + 1 < static_cast<uint32_t>(plan_.stages_size())) {
      ISTHMUS_RETURN_IF_ERROR(SendOn(stage, mb, std::move(out)));
      out = Tensor();
    }
  }
  return out;
}

void StageRunner::ResetCache() {
  for (const auto& [stage, slot] : slot_of_stage_) group_->stage(slot)->ResetCache();
}

}  // namespace isthmus
