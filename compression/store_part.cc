// store(first, dtype, store, capacity) and skip(cosine, dtype, store, capacity): predictors that
// remember the decoded rows of every sample (aqsgd_frame.h has frames, checks and state).
//
//   store   AQ-SGD's prediction before any composition: a later visit sends the change of the
//           sample, coded by the parts behind it
//   skip    SplitCom's prediction (arXiv 2602.10564): a later visit whose cosine with the held rows
//           reaches the threshold sends nothing and the receiver computes on what it holds; else
//           the sample is sent anew, coded by the parts behind it
//
// Activations only; evaluation neither reads nor changes the store.
#include <limits>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "compression/aqsgd_frame.h"
#include "compression/composed_codec.h"
#include "compression/decimal.h"
#include "compression/part_table.h"

namespace isthmus {
namespace {

class PipelineChange final : public ChangeCoder {
 public:
  PipelineChange(const Composition& composition, const EdgeShape& shape)
      : pipeline_(composition, shape), width_(shape.width) {}

  EncodedSize Encode(const float* change, const SampleRows& sample, const FrameContext& context,
                     Bytes* out, float* decoded) override {
    SetSample(sample, context);
    const size_t start = out->size();
    EncodedSize size;
    ISTHMUS_CHECK(pipeline_.Encode(frame_, change, out, &size));  // the caller bounds the change
    ByteReader reader(absl::MakeSpan(*out).subspan(start));
    ISTHMUS_CHECK(pipeline_.Decode(frame_, &reader, decoded).ok());
    return size;
  }
  bool Decode(ByteReader* in, const SampleRows& sample, const FrameContext& context,
              float* decoded) override {
    SetSample(sample, context);
    return pipeline_.Decode(frame_, in, decoded).ok();
  }

 private:
  void SetSample(const SampleRows& sample, const FrameContext& context) {
    sample_ = {sample.sample, 0, sample.tokens};
    frame_ = {context.step,
              context.training,
              {&sample_, 1},
              static_cast<size_t>(sample.tokens),
              static_cast<size_t>(width_)};
  }

  Pipeline pipeline_;
  int64_t width_;
  SampleRows sample_;
  PartFrame frame_;
};

constexpr const char* kFirst[] = {"int8", "fp16", "none"};
constexpr const char* kTypes[] = {"fp32", "bf16", "int8"};

class StoreSpec final : public PredictorSpec {
 public:
  explicit StoreSpec(const AqsgdOptions& options) : options_(options) {}

  std::string canonical() const override {
    const std::string head =
        options_.whole ? absl::StrCat("skip(cosine=", Decimal(options_.skip_cosine))
                       : absl::StrCat("store(first=", kFirst[static_cast<int>(options_.first)]);
    return absl::StrCat(head, ",dtype=", kTypes[static_cast<int>(options_.type)],
                        ",store=", options_.mapped ? "mmap" : "ram", ",capacity=",
                        options_.capacity == 0 ? "all" : absl::StrCat(options_.capacity), ")");
  }
  PartTraits traits() const override { return {.forward_only = true, .remembers_samples = true}; }
  absl::Status CheckBehind(const Composition& composition) const override {
    for (size_t i = 1; i < composition.parts.size(); ++i) {
      if (!composition.parts[i].spec->traits().has_table) continue;
      return InvalidArgument("codec ", composition.canonical(),
                             ": expected parts without tables of ", "their own behind ",
                             composition.parts[0].row->name, ", got ",
                             composition.parts[i].row->name);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const Composition& composition,
                                                       const EdgeShape& shape) const override {
    return MakeAqsgdEncoder(With(composition), shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const Composition& composition,
                                                       const EdgeShape& shape) const override {
    return MakeAqsgdDecoder(With(composition), shape);
  }
  Codec::StateSize StateSizeFor(const EdgeShape& shape) const override {
    return AqsgdStateSize(options_, shape);
  }

 private:
  AqsgdOptions With(const Composition& composition) const {
    AqsgdOptions options = options_;
    options.changes = [composition](const EdgeShape& shape) {
      return std::make_unique<PipelineChange>(composition, shape);
    };
    return options;
  }

  AqsgdOptions options_;
};

absl::Status ReadStore(const SpecArguments& arguments, absl::string_view name,
                       AqsgdOptions* options) {
  ISTHMUS_ASSIGN_OR_RETURN(const int type,
                           arguments.Choice("dtype", {kTypes[0], kTypes[1], kTypes[2]}, 0));
  ISTHMUS_ASSIGN_OR_RETURN(const int store, arguments.Choice("store", {"ram", "mmap"}, 0));
  options->type = static_cast<StoreType>(type);
  options->mapped = store == 1;
  const std::string word = arguments.Word("capacity", "all");
  if (word == "all") return absl::OkStatus();
  if (absl::SimpleAtoi(word, &options->capacity) && options->capacity > 0) return absl::OkStatus();
  return InvalidArgument("codec ", name, ": capacity: expected all or a number of samples from 1, ",
                         "got ", word);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeStorePart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"first", "dtype", "store", "capacity"}));
  AqsgdOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(const int first,
                           arguments.Choice("first", {kFirst[0], kFirst[1], kFirst[2]}, 0));
  options.first = static_cast<KeyFormat>(first);
  ISTHMUS_RETURN_IF_ERROR(ReadStore(arguments, part.name, &options));
  return std::make_shared<StoreSpec>(options);
}

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeSkipPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"cosine", "dtype", "store", "capacity"}));
  AqsgdOptions options;
  options.whole = true;
  ISTHMUS_ASSIGN_OR_RETURN(options.skip_cosine, arguments.Number("cosine", 0.0, 1.0, 0.98));
  ISTHMUS_RETURN_IF_ERROR(ReadStore(arguments, part.name, &options));
  return std::make_shared<StoreSpec>(options);
}

}  // namespace isthmus
