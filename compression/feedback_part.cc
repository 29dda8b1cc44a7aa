// feedback(dtype, capacity): error feedback: what coding took from a tensor is added to it the next
// time it comes, by sample id. It makes the sum of many coarse gradients of the SAME tensor right
// (200 accumulated 2-bit gradients: relative error 0.005 against 0.08); for activation gradients,
// which belong to another sample every step, it gains nothing (Rudakov et al., arXiv 2401.07788).
//
// Only the sender keeps the errors; the receiver decodes as without. A sample that occurs twice in
// a frame keeps the error of its last rows.
#include <limits>
#include <memory>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "base/hash.h"
#include "compression/composed_codec.h"
#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/sample_store.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

struct FeedbackOptions {
  StoreType type = StoreType::kFp32;
  int64_t capacity = 0;
};

constexpr const char* kTypes[] = {"fp32", "bf16"};

size_t MaxRows(const FeedbackOptions& options, const EdgeShape& shape) {
  return static_cast<size_t>(options.capacity > 0 ? options.capacity : shape.num_samples);
}

class FeedbackEncoder final : public Encoder {
 public:
  FeedbackEncoder(const FeedbackOptions& options, const Composition& composition,
                  const EdgeShape& shape)
      : shape_(shape),
        width_(static_cast<size_t>(shape.width)),
        pipeline_(composition, shape),
        rows_(options.type, shape.width),
        store_(MakeRamSlots(), MaxRows(options, shape)) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, x_TD.size()));
    if (ScanExtent(x_TD.data(), x_TD.size()).magnitude > Pipeline::kLargestInput)
      return NonFiniteError(shape_, context, x_TD, Pipeline::kLargestInput);
    const PartFrame frame = WholeFrame(context, rows, shape_.width);
    float* wanted = Room(&wanted_, x_TD.size());
    AddErrors(x_TD, context.samples, wanted);
    const size_t start = out->size();
    EncodedSize size;
    if (!pipeline_.Encode(frame, wanted, out, &size)) {
      out->resize(start);
      return InvalidArgument("codec feedback: expected values and errors up to 2^96 together, got ",
                             "larger ones ", Where(shape_, context));
    }
    if (context.training) KeepErrors(frame, absl::MakeSpan(*out).subspan(start));
    return size;
  }

  absl::Status CommitStep(uint64_t) override {
    store_.Commit();
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    store_.Rollback();
    return absl::OkStatus();
  }
  void RequestKeyFrames() override {}  // the receiver holds nothing
  absl::Status Snapshot(Bytes* out) const override {
    Bytes body;
    store_.Snapshot(&body);
    ByteWriter(out).Put(Hash64(body));
    out->insert(out->end(), body.begin(), body.end());
    return absl::OkStatus();
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    ByteReader reader(snapshot);
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t hash, reader.Get<uint64_t>());
    if (hash != Hash64(snapshot.subspan(8)))
      return DataLoss("codec feedback: snapshot: expected its own checksum, got another");
    return store_.Restore(&reader, rows_, std::numeric_limits<uint32_t>::max());
  }
  uint64_t StateHash() const override { return 0; }  // of what both ends hold
  int64_t StateBytes() const override { return store_.StateBytes(); }

 private:
  void AddErrors(absl::Span<const float> x_TD, absl::Span<const SampleRows> samples,
                 float* wanted) {
    std::copy(x_TD.begin(), x_TD.end(), wanted);
    for (const SampleRows& sample : samples) {
      SampleStore::Row row;
      if (!store_.Find(sample.sample, &row) || row.tokens != static_cast<uint64_t>(sample.tokens))
        continue;
      const size_t n = row.tokens * width_;
      rows_.Read(row.bytes.data(), row.tokens, Room(&error_, n));
      float* to = wanted + static_cast<size_t>(sample.begin) * width_;
      for (size_t i = 0; i < n; ++i) to[i] += error_[i];
    }
  }

  void KeepErrors(const PartFrame& frame, absl::Span<const uint8_t> bytes) {
    const size_t n = frame.rows * width_;
    ByteReader reader(bytes);
    ISTHMUS_CHECK(pipeline_.Decode(frame, &reader, Room(&decoded_, n)).ok());
    for (size_t i = 0; i < n; ++i) decoded_[i] = wanted_[i] - decoded_[i];
    for (const SampleRows& sample : frame.samples) {
      const auto tokens = static_cast<size_t>(sample.tokens);
      bytes_.resize(rows_.Bytes(tokens));
      rows_.Write(decoded_.data() + static_cast<size_t>(sample.begin) * width_, tokens,
                  bytes_.data());
      store_.Put(sample.sample, {static_cast<uint32_t>(tokens), 1, bytes_});
    }
  }

  EdgeShape shape_;
  size_t width_;
  Pipeline pipeline_;
  StoreRowFormat rows_;
  SampleStore store_;
  std::vector<float> wanted_, decoded_, error_;
  Bytes bytes_;
};

class FeedbackSpec final : public PredictorSpec {
 public:
  explicit FeedbackSpec(const FeedbackOptions& options) : options_(options) {}
  std::string canonical() const override {
    return absl::StrCat("feedback(dtype=", kTypes[static_cast<int>(options_.type)], ",capacity=",
                        options_.capacity == 0 ? "all" : absl::StrCat(options_.capacity), ")");
  }
  absl::Status CheckBehind(const Composition& composition) const override {
    for (size_t i = 1; i < composition.parts.size(); ++i) {
      if (!composition.parts[i].spec->traits().has_table) continue;
      return InvalidArgument("codec ", composition.canonical(),
                             ": expected parts without tables of their own behind feedback, got ",
                             composition.parts[i].row->name);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const Composition& composition,
                                                       const EdgeShape& shape) const override {
    return std::make_unique<FeedbackEncoder>(options_, composition, shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const Composition& composition,
                                                       const EdgeShape& shape) const override {
    return MakePlainDecoder(composition, shape);
  }
  Codec::StateSize StateSizeFor(const EdgeShape& shape) const override {
    const StoreRowFormat rows(options_.type, shape.width);
    const auto count = static_cast<int64_t>(MaxRows(options_, shape));
    return {
        count * (SampleStore::kRowOverheadBytes +
                 static_cast<int64_t>(rows.Bytes(static_cast<size_t>(shape.max_sample_tokens)))),
        0};
  }

 private:
  FeedbackOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeFeedbackPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"dtype", "capacity"}));
  FeedbackOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(const int type, arguments.Choice("dtype", {kTypes[0], kTypes[1]}, 0));
  options.type = static_cast<StoreType>(type);
  const std::string word = arguments.Word("capacity", "all");
  if (word != "all" && (!absl::SimpleAtoi(word, &options.capacity) || options.capacity < 1)) {
    return InvalidArgument("codec feedback: capacity: expected all or a number of samples from 1, ",
                           "got ", word);
  }
  return std::make_shared<FeedbackSpec>(options);
}

}  // namespace isthmus
