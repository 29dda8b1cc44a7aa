#include "compression/aqsgd_frame.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/status.h"
#include "compression/column_coder.h"
#include "compression/frame_check.h"
#include "compression/pipeline.h"
#include "compression/sample_store.h"
#include "compression/scratch.h"
#include "compression/sums.h"

namespace isthmus {
namespace {

enum Kind : uint64_t { kKey = 0, kChange = 1, kNoChange = 2 };
constexpr uint8_t kHasCheck = 1, kForget = 2;
constexpr uint64_t kCheckEvery = 16;  // 4 bytes per 16 frames
// A change this large (2^120) would leave the range that sums of it and m stay finite in; such a
// sample is coded anew.
constexpr uint32_t kLargestChange = 0x7B800000u;
constexpr uint32_t kLargestDecoded = 0x7F000000u;  // 2^127

GroupFormat ChangeFormat(int bits) {
  // Two levels at the extremes would send a change further than it is; at a multiple of the RMS
  // they contract.
  return {bits, false, bits == 1 ? RangeRule::kRms : RangeRule::kMinMax};
}

size_t MaxRows(const AqsgdOptions& options, const EdgeShape& shape) {
  if (options.capacity == 0) return static_cast<size_t>(shape.num_samples);
  if (shape.num_samples == 0) return static_cast<size_t>(options.capacity);
  return static_cast<size_t>(std::min(options.capacity, shape.num_samples));
}

absl::StatusOr<std::unique_ptr<SlotMemory>> MakeSlots(const AqsgdOptions& options,
                                                      const EdgeShape& shape) {
  if (!options.mapped) return MakeRamSlots();
  if (shape.state_dir.empty() || MaxRows(options, shape) == 0 || shape.max_sample_tokens == 0) {
    return InvalidArgument(
        "codec aqsgd: store=mmap: expected a state folder and known numbers of samples and tokens, "
        "got ",
        shape.state_dir.empty() ? "no folder" : "unknown numbers");
  }
  const StoreRowFormat rows(options.type, shape.width);
  return MakeMappedSlots(shape.state_dir, MaxRows(options, shape),
                         rows.Bytes(static_cast<size_t>(shape.max_sample_tokens)));
}

// Of two rows of values; 1 for two rows of zeros.
double Cosine(const float* a, const float* b, size_t n) {
  double dots[8] = {};
  for (size_t i = 0; i < n; ++i) dots[i % 8] += static_cast<double>(a[i]) * b[i];
  double dot = 0;
  for (const double sum : dots) dot += sum;
  const double of_a = SumMoments(a, n).squares, of_b = SumMoments(b, n).squares;
  if (of_a == 0 || of_b == 0) return of_a == of_b ? 1.0 : 0.0;
  return dot / (std::sqrt(of_a) * std::sqrt(of_b));
}

// What encoder and decoder share: the store, the coders of both kinds, and the rows of the frame in
// work, which reach the store together or not at all.
class AqsgdEnd {
 public:
  AqsgdEnd(const AqsgdOptions& options, const EdgeShape& shape, std::unique_ptr<SlotMemory> slots)
      : options_(options),
        shape_(shape),
        width_(static_cast<size_t>(shape.width)),
        store_(std::move(slots), MaxRows(options, shape)),
        rows_(options.type, shape.width),
        keys_(options.first, shape.width),
        columns_(shape.width, ColumnCoder::Fit::kLeastError),
        matrix_({ChangeFormat(options.bits), options.group, 64}, shape.width),
        bits_(width_, static_cast<uint8_t>(options.bits)),
        changes_(options.changes ? options.changes(shape) : nullptr) {}

  absl::StatusOr<size_t> CheckSamples(const FrameContext& context, size_t elements) const {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, elements));
    for (const SampleRows& sample : context.samples) {
      if (context.training && shape_.max_sample_tokens > 0 &&
          sample.tokens > shape_.max_sample_tokens) {
        return InvalidArgument("codec aqsgd: expected samples of at most ",
                               shape_.max_sample_tokens, " tokens, got ", sample.tokens, " ",
                               Where(shape_, context));
      }
    }
    return static_cast<size_t>(rows);
  }

  void BeginFrame() {
    staged_.clear();
    staged_bytes_.clear();
  }

  // The row that a sample of this frame follows: the frame's own later one first. Its values go to
  // *m when it has `tokens`.
  bool Previous(const SampleRows& sample, bool forget, std::vector<float>* m, uint32_t* version) {
    SampleStore::Row row;
    bool found = false;
    for (size_t i = staged_.size(); i-- > 0 && !found;) {
      if (staged_[i].sample != sample.sample) continue;
      row = staged_[i].row;
      row.bytes = StagedBytes(staged_[i]);
      found = true;
    }
    if (!found && (forget || !store_.Find(sample.sample, &row))) return false;
    *version = row.version;
    if (row.tokens != static_cast<uint64_t>(sample.tokens)) return false;
    rows_.Read(row.bytes.data(), row.tokens, Room(m, row.tokens * width_));
    return true;
  }

  // Rounds decoded values to the store's type, in place, and keeps the row for Publish.
  void Stage(const SampleRows& sample, uint32_t version, float* decoded) {
    const size_t tokens = static_cast<size_t>(sample.tokens), at = staged_bytes_.size();
    staged_bytes_.resize(at + rows_.Bytes(tokens));
    rows_.Write(decoded, tokens, staged_bytes_.data() + at);
    rows_.Read(staged_bytes_.data() + at, tokens, decoded);
    staged_.push_back({sample.sample, {static_cast<uint32_t>(tokens), version, {}}, at});
  }

  uint32_t CheckOfStaged() const { return static_cast<uint32_t>(Hash64(staged_bytes_)); }

  void Publish(bool forget) {
    if (forget) store_.Clear();
    for (Staged& staged : staged_) {
      staged.row.bytes = StagedBytes(staged);
      store_.Put(staged.sample, staged.row);
    }
  }

  // The largest magnitude that EncodeChange serves.
  uint32_t LargestChange() const {
    return changes_ != nullptr ? Pipeline::kLargestInput : kLargestChange;
  }
  // change (tokens x width) -> bytes and what they decode to.
  EncodedSize EncodeChange(const float* change, const SampleRows& sample,
                           const FrameContext& context, Bytes* out, float* decoded) {
    if (changes_ != nullptr) return changes_->Encode(change, sample, context, out, decoded);
    const size_t tokens = static_cast<size_t>(sample.tokens);
    if (options_.group == Group::kChannel)
      return columns_.Encode(change, tokens, bits_, nullptr, 0, out, decoded);
    const size_t at = out->size();
    out->resize(at + matrix_.Bytes(tokens));
    matrix_.Encode(change, tokens, nullptr, 0, out->data() + at);
    matrix_.Decode(out->data() + at, tokens, decoded);
    EncodedSize size;
    size.payload_bytes = static_cast<int64_t>(matrix_.CodeBytes(tokens));
    size.side_bytes = static_cast<int64_t>(matrix_.ParameterBytes(tokens));
    return size;
  }
  bool DecodeChange(ByteReader* in, const SampleRows& sample, const FrameContext& context,
                    float* decoded) {
    if (changes_ != nullptr) return changes_->Decode(in, sample, context, decoded);
    const size_t tokens = static_cast<size_t>(sample.tokens);
    if (options_.group == Group::kChannel) return columns_.Decode(in, tokens, bits_, decoded);
    const auto bytes = in->GetBytes(matrix_.Bytes(tokens));
    return bytes.ok() && matrix_.Decode(bytes->data(), tokens, decoded);
  }

  const AqsgdOptions options_;
  const EdgeShape shape_;
  const size_t width_;
  SampleStore store_;
  StoreRowFormat rows_;
  KeyFrameCoder keys_;

 private:
  struct Staged {
    uint64_t sample;
    SampleStore::Row row;
    size_t at;
  };
  absl::Span<const uint8_t> StagedBytes(const Staged& staged) const {
    return {staged_bytes_.data() + staged.at, rows_.Bytes(staged.row.tokens)};
  }

  ColumnCoder columns_;
  MatrixCoder matrix_;
  std::vector<uint8_t> bits_;
  std::unique_ptr<ChangeCoder> changes_;
  std::vector<Staged> staged_;
  Bytes staged_bytes_;
};

// Snapshot: u64 Hash64 of the rest | u64 frames | u8 forget | store.
absl::Status WriteSnapshot(const SampleStore& store, uint64_t frames, bool forget, Bytes* out) {
  if (store.JournalMark() != 0) {
    return absl::FailedPreconditionError(
        "codec aqsgd: snapshot: expected a step boundary, got a step in work");
  }
  Bytes body;
  ByteWriter writer(&body);
  writer.Put(frames);
  writer.Put(static_cast<uint8_t>(forget));
  store.Snapshot(&body);
  ByteWriter(out).Put(Hash64(body));
  out->insert(out->end(), body.begin(), body.end());
  return absl::OkStatus();
}

absl::Status ReadSnapshot(AqsgdEnd* end, absl::Span<const uint8_t> snapshot, uint64_t* frames,
                          bool* forget) {
  ByteReader reader(snapshot);
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t hash, reader.Get<uint64_t>());
  if (hash != Hash64(snapshot.subspan(8))) {
    return DataLoss("codec aqsgd: snapshot: expected its own checksum, got another");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t new_frames, reader.Get<uint64_t>());
  ISTHMUS_ASSIGN_OR_RETURN(const uint8_t new_forget, reader.Get<uint8_t>());
  const int64_t max_tokens = end->shape_.max_sample_tokens;
  ISTHMUS_RETURN_IF_ERROR(end->store_.Restore(
      &reader, end->rows_, max_tokens > 0 ? static_cast<uint64_t>(max_tokens) : UINT32_MAX));
  *frames = new_frames;
  *forget = new_forget != 0;
  return absl::OkStatus();
}

class AqsgdEncoder final : public Encoder {
 public:
  AqsgdEncoder(const AqsgdOptions& options, const EdgeShape& shape,
               std::unique_ptr<SlotMemory> slots)
      : end_(options, shape, std::move(slots)) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_RETURN_IF_ERROR(end_.CheckSamples(context, x_TD.size()).status());
    const uint32_t largest = end_.options_.changes ? end_.LargestChange() : kLargestMagnitude;
    if (ScanExtent(x_TD.data(), x_TD.size()).magnitude > largest) {
      return NonFiniteError(end_.shape_, context, x_TD, largest);
    }
    const bool forget = context.training && now_.forget;
    const bool check = context.training && now_.frames % kCheckEvery == kCheckEvery - 1;
    const size_t start = out->size();
    out->push_back(static_cast<uint8_t>((check ? kHasCheck : 0) | (forget ? kForget : 0)));
    if (check) out->resize(start + 5);
    EncodedSize size;
    size.side_bytes = static_cast<int64_t>(out->size() - start);
    end_.BeginFrame();
    for (const SampleRows& sample : context.samples) {
      const float* x = x_TD.data() + static_cast<size_t>(sample.begin) * end_.width_;
      EncodeSample(x, sample, context, forget, out, &size);
    }
    if (!context.training) return size;
    if (check) {
      const uint32_t hash = end_.CheckOfStaged();
      std::memcpy(out->data() + start + 1, &hash, 4);
    }
    end_.Publish(false);  // RequestKeyFrames has forgotten already
    ++now_.frames;
    now_.forget = false;
    return size;
  }

  absl::Status CommitStep(uint64_t) override {
    end_.store_.Commit();
    boundary_ = now_;
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    end_.store_.Rollback();
    now_ = boundary_;
    return absl::OkStatus();
  }
  void RequestKeyFrames() override {
    end_.store_.Clear();
    now_.forget = boundary_.forget = true;
  }
  absl::Status Snapshot(Bytes* out) const override {
    return WriteSnapshot(end_.store_, now_.frames, now_.forget, out);
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    ISTHMUS_RETURN_IF_ERROR(ReadSnapshot(&end_, snapshot, &now_.frames, &now_.forget));
    boundary_ = now_;
    return absl::OkStatus();
  }
  uint64_t StateHash() const override { return end_.store_.Hash(); }
  int64_t StateBytes() const override { return end_.store_.StateBytes(); }

 private:
  struct Progress {
    uint64_t frames = 0;  // training frames so far
    bool forget = false;  // the next training frame tells the other end to forget its rows
  };

  void EncodeSample(const float* x, const SampleRows& sample, const FrameContext& context,
                    bool forget, Bytes* out, EncodedSize* size) {
    const bool training = context.training;
    uint32_t version = 0;
    const bool known = training && end_.Previous(sample, forget, &m_, &version);
    const uint32_t next = training ? version + 1 : 0;
    const Kind kind =
        known ? ChooseKind(x, static_cast<size_t>(sample.tokens) * end_.width_) : kKey;
    const size_t before = out->size();
    ByteWriter(out).PutVarint(uint64_t{next} << 2 | kind);
    size->side_bytes += static_cast<int64_t>(out->size() - before);
    if (kind == kKey) {
      EncodeKey(x, sample, context, out, size);
    } else if (kind == kChange) {
      EncodeChange(sample, context, out, size);
    }
    if (training) end_.Stage(sample, next, m_.data());
  }

  // Computes change_ = x - m_. A change with more than half the energy of the sample predicts too
  // little: a key frame serves better.
  Kind ChooseKind(const float* x, size_t n) {
    const double skip = end_.options_.skip_cosine;
    if (skip <= 1.0 && Cosine(x, m_.data(), n) >= skip) return kNoChange;
    if (end_.options_.whole) return kKey;
    float* change = Room(&change_, n);
    for (size_t i = 0; i < n; ++i) change[i] = x[i] - m_[i];
    const uint32_t magnitude = ScanExtent(change, n).magnitude;
    if (magnitude == 0) return kNoChange;
    const bool predicts = 2 * SumMoments(change, n).squares <= SumMoments(x, n).squares;
    return magnitude > end_.LargestChange() || !predicts ? kKey : kChange;
  }

  void EncodeKey(const float* x, const SampleRows& sample, const FrameContext& context, Bytes* out,
                 EncodedSize* size) {
    const bool training = context.training;
    const size_t tokens = static_cast<size_t>(sample.tokens), at = out->size(),
                 bytes = end_.keys_.Bytes(tokens);
    ++size->key_frames;
    if (end_.options_.whole) {
      float* decoded = Room(&m_, tokens * end_.width_);
      return Add(end_.EncodeChange(x, sample, context, out, decoded), size);
    }
    out->resize(at + bytes);
    size->saturated += end_.keys_.Encode(x, tokens, out->data() + at);
    if (training) end_.keys_.Decode(out->data() + at, tokens, Room(&m_, tokens * end_.width_));
    const int64_t side = static_cast<int64_t>(end_.keys_.SideBytes(tokens));
    size->side_bytes += side;
    size->payload_bytes += static_cast<int64_t>(bytes) - side;
  }

  static void Add(const EncodedSize& part, EncodedSize* size) {
    size->payload_bytes += part.payload_bytes;
    size->side_bytes += part.side_bytes;
  }

  void EncodeChange(const SampleRows& sample, const FrameContext& context, Bytes* out,
                    EncodedSize* size) {
    const size_t tokens = static_cast<size_t>(sample.tokens), n = tokens * end_.width_;
    float* decoded = Room(&decoded_, n);
    Add(end_.EncodeChange(change_.data(), sample, context, out, decoded), size);
    for (size_t i = 0; i < n; ++i) m_[i] += decoded[i];
  }

  AqsgdEnd end_;
  Progress now_, boundary_;
  std::vector<float> m_, change_, decoded_;
};

class AqsgdDecoder final : public Decoder {
 public:
  AqsgdDecoder(const AqsgdOptions& options, const EdgeShape& shape,
               std::unique_ptr<SlotMemory> slots)
      : end_(options, shape, std::move(slots)) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_RETURN_IF_ERROR(end_.CheckSamples(context, out_TD.size()).status());
    ByteReader reader(bytes);
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t flags, reader.Get<uint8_t>());
    if ((flags & ~(kHasCheck | kForget)) != 0 || (!context.training && flags != 0)) {
      return CorruptFrame(end_.shape_, context, "flags of this version", absl::StrCat(flags));
    }
    uint32_t check = 0;
    if ((flags & kHasCheck) != 0) {
      ISTHMUS_ASSIGN_OR_RETURN(check, reader.Get<uint32_t>());
    }
    const bool forget = (flags & kForget) != 0;
    end_.BeginFrame();
    for (const SampleRows& sample : context.samples) {
      float* out = out_TD.data() + static_cast<size_t>(sample.begin) * end_.width_;
      ISTHMUS_RETURN_IF_ERROR(DecodeSample(&reader, sample, context, forget, out));
    }
    if (reader.remaining() != 0) {
      return CorruptFrame(end_.shape_, context, "the end",
                          absl::StrCat(reader.remaining(), " more bytes"));
    }
    if ((flags & kHasCheck) != 0 && check != end_.CheckOfStaged()) {
      return DataLoss("message store: expected hash ", check, ", got ", end_.CheckOfStaged(), " ",
                      Where(end_.shape_, context));
    }
    if (context.training) end_.Publish(forget);
    return absl::OkStatus();
  }

  absl::Status CommitStep(uint64_t) override {
    end_.store_.Commit();
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    end_.store_.Rollback();
    return absl::OkStatus();
  }
  void RequestKeyFrames() override { end_.store_.Clear(); }
  absl::Status Snapshot(Bytes* out) const override {
    return WriteSnapshot(end_.store_, 0, false, out);
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    uint64_t frames;
    bool forget;
    return ReadSnapshot(&end_, snapshot, &frames, &forget);
  }
  uint64_t StateHash() const override { return end_.store_.Hash(); }
  int64_t StateBytes() const override { return end_.store_.StateBytes(); }

 private:
  absl::Status DecodeSample(ByteReader* reader, const SampleRows& sample,
                            const FrameContext& context, bool forget, float* out) {
    const size_t tokens = static_cast<size_t>(sample.tokens), n = tokens * end_.width_;
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t head, reader->GetVarint());
    const uint64_t kind = head & 3, version = head >> 2;
    if (kind > kNoChange || version > UINT32_MAX || (!context.training && head != kKey)) {
      return CorruptFrame(end_.shape_, context, "a key frame or a change",
                          absl::StrCat("head ", head));
    }
    if (kind == kKey && end_.options_.whole) {
      if (!end_.DecodeChange(reader, sample, context, out))
        return CorruptFrame(end_.shape_, context, "a coded sample", "other bytes");
      if (ScanExtent(out, n).magnitude > kLargestDecoded)
        return CorruptFrame(end_.shape_, context, "values up to 2^127", "others");
    } else if (kind == kKey) {
      ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> key,
                               reader->GetBytes(end_.keys_.Bytes(tokens)));
      if (!end_.keys_.Decode(key.data(), tokens, out)) {
        return CorruptFrame(end_.shape_, context, "finite values in a key frame", "others");
      }
    } else {
      uint32_t held = 0;
      const bool known = end_.Previous(sample, forget, &m_, &held);
      if (!known || version != uint64_t{held} + 1) {
        return DataLoss("message store: expected the change after version ", held, " of sample ",
                        sample.sample, ", got version ", version,
                        known ? " " : " and no row of it ", Where(end_.shape_, context));
      }
      if (kind == kNoChange) {
        if (n > 0) std::memcpy(out, m_.data(), n * sizeof(float));
      } else {
        if (!end_.DecodeChange(reader, sample, context, Room(&change_, n))) {
          return CorruptFrame(end_.shape_, context, "a coded change", "other bytes");
        }
        for (size_t i = 0; i < n; ++i) out[i] = m_[i] + change_[i];
      }
      if (ScanExtent(out, n).magnitude > kLargestDecoded) {
        return CorruptFrame(end_.shape_, context, "values up to 2^127", "others");
      }
    }
    if (context.training) end_.Stage(sample, static_cast<uint32_t>(version), out);
    return absl::OkStatus();
  }

  AqsgdEnd end_;
  std::vector<float> m_, change_;
};

absl::Status CheckAqsgdShape(const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
  if (shape.num_samples < 0 || shape.max_sample_tokens < 0) {
    return InvalidArgument("codec aqsgd: expected sizes of the data from 0, got ",
                           shape.num_samples, " samples of ", shape.max_sample_tokens, " tokens");
  }
  if (shape.direction == Direction::kForward) return absl::OkStatus();
  return InvalidArgument(
      "codec aqsgd: expected the forward direction, got backward: gradients have no message store "
      "(int8 or int4 serve)");
}

}  // namespace

Codec::StateSize AqsgdStateSize(const AqsgdOptions& options, const EdgeShape& shape) {
  const StoreRowFormat rows(options.type, shape.width);
  const int64_t count = static_cast<int64_t>(MaxRows(options, shape));
  const int64_t values =
      count * static_cast<int64_t>(rows.Bytes(static_cast<size_t>(shape.max_sample_tokens)));
  Codec::StateSize size;
  size.ram_bytes = count * SampleStore::kRowOverheadBytes + (options.mapped ? 0 : values);
  size.file_bytes = options.mapped ? values : 0;
  return size;
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeAqsgdEncoder(const AqsgdOptions& options,
                                                          const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckAqsgdShape(shape));
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<SlotMemory> slots, MakeSlots(options, shape));
  return std::make_unique<AqsgdEncoder>(options, shape, std::move(slots));
}

absl::StatusOr<std::unique_ptr<Decoder>> MakeAqsgdDecoder(const AqsgdOptions& options,
                                                          const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckAqsgdShape(shape));
  ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<SlotMemory> slots, MakeSlots(options, shape));
  return std::make_unique<AqsgdDecoder>(options, shape, std::move(slots));
}

}  // namespace isthmus
