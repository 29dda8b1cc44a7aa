// ecq: one step for the frame, prediction from what both ends already know, and an entropy coder
// whose contexts cost nothing. docs/ecq.md.
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/ecq_basis.h"
#include "compression/ecq_frame.h"

namespace isthmus {
namespace {

constexpr double kLeastDb = -20;
constexpr int64_t kMostBasis = 512;  // 0.5 MB a block; its eigenvectors take seconds

const std::vector<std::string>& PredictWords() {
  static const auto* words = new std::vector<std::string>{"auto", "slot", "sample", "off"};
  return *words;
}
const std::vector<std::string>& StoreWords() {
  static const auto* words = new std::vector<std::string>{"ram", "mmap"};
  return *words;
}
const std::vector<std::string>& WeightingWords() {
  static const auto* words = new std::vector<std::string>{"off", "on", "gates"};
  return *words;
}

std::string Number(double value) { return absl::StrCat(value); }

class EcqCodec final : public Codec {
 public:
  EcqCodec(std::string text, const EcqOptions& options)
      : text_(std::move(text)), options_(options) {}

  std::string text() const override { return text_; }
  std::string canonical() const override { return Canonical(options_); }

  // Gradients forgive unbiased noise: ten decibels or a bit and a half less, and never so coarse
  // that training feels it; docs/ecq.md has the measurements.
  std::string BackwardText() const override {
    EcqOptions backward = options_;
    backward.has_floor = false;
    switch (options_.target) {
      case EcqTarget::kDecibel:
        backward.value = std::max(kLeastDb, options_.value - 10);
        break;
      case EcqTarget::kBits:
        backward.value = std::max(0.75, options_.value - 0.5);
        break;
      case EcqTarget::kBytes:
        break;
    }
    backward.weighting = EcqWeighting::kNone;
    return Canonical(backward);
  }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const override {
    ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<Encoder> encoder, MakeEcqEncoder(options_, shape));
    if (options_.basis == 0) return encoder;
    return MakeEcqBasisEncoder(options_, shape, std::move(encoder));
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const override {
    ISTHMUS_ASSIGN_OR_RETURN(std::unique_ptr<Decoder> decoder, MakeEcqDecoder(options_, shape));
    if (options_.basis == 0) return decoder;
    return MakeEcqBasisDecoder(options_, shape, std::move(decoder));
  }
  StateSize StateSizeFor(const EdgeShape& shape) const override {
    StateSize size = EcqStateSize(options_, shape);
    if (options_.basis > 0) size.ram_bytes += EcqBasisStateBytes(options_, shape);
    return size;
  }

 private:
  static std::string Canonical(const EcqOptions& o) {
    static constexpr const char* kTargets[] = {"db", "bits", "bytes"};
    const int predict = o.slots ? (o.samples ? 0 : 1) : (o.samples ? 2 : 3);
    return absl::StrCat(
        "ecq(", kTargets[static_cast<size_t>(o.target)], "=", Number(o.value),
        o.has_floor ? absl::StrCat(",floor=", Number(o.floor_db)) : "",
        ",predict=", PredictWords()[static_cast<size_t>(predict)], ",slots=", o.num_slots,
        ",capacity=", o.capacity == 0 ? "all" : absl::StrCat(o.capacity), ",keep=", Number(o.keep),
        ",eval=", Number(o.eval_db), ",sens=", WeightingWords()[static_cast<size_t>(o.weighting)],
        ",basis=", o.basis == 0 ? "off" : absl::StrCat(o.basis), ")");
  }

  std::string text_;
  EcqOptions options_;
};

// The number under `key` in [low, high]; unchanged when it was not given.
absl::Status ReadNumber(const SpecArguments& arguments, absl::string_view key, double low,
                        double high, double* value) {
  if (!arguments.Has(key)) return absl::OkStatus();
  const std::string word = arguments.Word(key, "");
  double number = 0;
  if (!absl::SimpleAtod(word, &number) || !(number >= low && number <= high)) {
    return InvalidArgument("codec ecq: ", key, ": expected a number from ", low, " to ", high,
                           ", got ", word);
  }
  *value = number;
  return absl::OkStatus();
}

absl::Status ReadTarget(const SpecArguments& arguments, EcqOptions* options) {
  const int targets = arguments.Has("db") + arguments.Has("bits") + arguments.Has("bytes");
  if (targets != 1) {
    return InvalidArgument("codec ecq: expected one of db, bits and bytes, got ",
                           targets == 0 ? "none" : "several");
  }
  if (arguments.Has("bits")) {
    options->target = EcqTarget::kBits;
    return ReadNumber(arguments, "bits", 0.02, 16, &options->value);
  }
  if (arguments.Has("bytes")) {
    options->target = EcqTarget::kBytes;
    return ReadNumber(arguments, "bytes", 16, 1e12, &options->value);
  }
  return ReadNumber(arguments, "db", kLeastDb, 80, &options->value);
}

absl::Status ReadFloor(const SpecArguments& arguments, EcqOptions* options) {
  options->has_floor = arguments.Has("floor");
  if (options->has_floor && options->target == EcqTarget::kDecibel) {
    return InvalidArgument("codec ecq: floor: expected it with bits or bytes, got it with db");
  }
  return ReadNumber(arguments, "floor", kLeastDb, 80, &options->floor_db);
}

absl::Status ReadPredictors(const SpecArguments& arguments, EcqOptions* options) {
  ISTHMUS_ASSIGN_OR_RETURN(const int predict, arguments.Choice("predict", PredictWords(), 0));
  options->slots = predict == 0 || predict == 1;
  options->samples = predict == 0 || predict == 2;
  ISTHMUS_ASSIGN_OR_RETURN(options->num_slots,
                           arguments.Int("slots", 1, 65535, options->num_slots));
  ISTHMUS_ASSIGN_OR_RETURN(const int store, arguments.Choice("store", StoreWords(), 0));
  options->mapped = store == 1;
  const std::string capacity = arguments.Word("capacity", "all");
  if (capacity == "all") return absl::OkStatus();
  if (absl::SimpleAtoi(capacity, &options->capacity) && options->capacity > 0)
    return absl::OkStatus();
  return InvalidArgument("codec ecq: capacity: expected all or a number of samples from 1, got ",
                         capacity);
}

absl::Status ReadBasis(const SpecArguments& arguments, EcqOptions* options) {
  if (arguments.Word("basis", "off") == "off") return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(options->basis, arguments.Int("basis", 2, kMostBasis, 2));
  if (options->weighting == EcqWeighting::kNone) return absl::OkStatus();
  return InvalidArgument(
      "codec ecq: basis: expected sens=off with it, whose channels it mixes, got ",
      WeightingWords()[static_cast<size_t>(options->weighting)]);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Codec>> MakeEcqCodec(const SpecPart& part,
                                                          const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(
      const SpecArguments arguments,
      SpecArguments::Bind(part, {"db", "bits", "bytes", "floor", "predict", "slots", "capacity",
                                 "keep", "eval", "sens", "store", "basis"}));
  EcqOptions options;
  ISTHMUS_RETURN_IF_ERROR(ReadTarget(arguments, &options));
  ISTHMUS_RETURN_IF_ERROR(ReadFloor(arguments, &options));
  ISTHMUS_RETURN_IF_ERROR(ReadPredictors(arguments, &options));
  ISTHMUS_RETURN_IF_ERROR(ReadNumber(arguments, "keep", 0.01, 1, &options.keep));
  ISTHMUS_RETURN_IF_ERROR(ReadNumber(arguments, "eval", 0, 40, &options.eval_db));
  ISTHMUS_ASSIGN_OR_RETURN(const int weighting, arguments.Choice("sens", WeightingWords(), 0));
  options.weighting = static_cast<EcqWeighting>(weighting);
  ISTHMUS_RETURN_IF_ERROR(ReadBasis(arguments, &options));
  return std::make_shared<EcqCodec>(text, options);
}

}  // namespace isthmus
