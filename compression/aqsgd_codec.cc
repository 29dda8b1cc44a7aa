// aqsgd(bits, first, group, store, dtype, capacity): the text form of AQ-SGD.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "compression/aqsgd_frame.h"
#include "compression/codec_table.h"

namespace isthmus {
namespace {

const std::vector<std::string>& FirstWords() {
  static const auto* words = new std::vector<std::string>{"int8", "fp16", "none"};
  return *words;
}
const std::vector<std::string>& GroupWords() {
  static const auto* words = new std::vector<std::string>{"tensor", "channel", "token", "tile"};
  return *words;
}
const std::vector<std::string>& StoreWords() {
  static const auto* words = new std::vector<std::string>{"ram", "mmap"};
  return *words;
}
const std::vector<std::string>& TypeWords() {
  static const auto* words = new std::vector<std::string>{"fp32", "bf16", "int8"};
  return *words;
}

class AqsgdCodec final : public Codec {
 public:
  AqsgdCodec(std::string text, const AqsgdOptions& options)
      : text_(std::move(text)), options_(options) {}

  std::string text() const override { return text_; }
  std::string canonical() const override {
    return absl::StrCat(
        "aqsgd(bits=", options_.bits, ",first=", FirstWords()[static_cast<size_t>(options_.first)],
        ",group=", GroupWords()[static_cast<size_t>(options_.group)],
        ",store=", StoreWords()[options_.mapped ? 1 : 0],
        ",dtype=", TypeWords()[static_cast<size_t>(options_.type)],
        ",capacity=", options_.capacity == 0 ? "all" : absl::StrCat(options_.capacity), ")");
  }
  bool ForwardOnly() const override { return true; }
  std::string BackwardText() const override { return options_.bits >= 4 ? "int8" : "int4"; }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const override {
    return MakeAqsgdEncoder(options_, shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const override {
    return MakeAqsgdDecoder(options_, shape);
  }
  StateSize StateSizeFor(const EdgeShape& shape) const override {
    return AqsgdStateSize(options_, shape);
  }

 private:
  std::string text_;
  AqsgdOptions options_;
};

absl::StatusOr<int64_t> ReadCapacity(const SpecArguments& arguments) {
  const std::string word = arguments.Word("capacity", "all");
  int64_t rows = 0;
  if (word == "all") return rows;
  if (absl::SimpleAtoi(word, &rows) && rows > 0) return rows;
  return InvalidArgument("codec aqsgd: capacity: expected all or a number of samples from 1, got ",
                         word);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Codec>> MakeAqsgdCodec(const SpecPart& part,
                                                            const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(
      const SpecArguments arguments,
      SpecArguments::Bind(part, {"bits", "first", "group", "store", "dtype", "capacity"}));
  AqsgdOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.RequiredInt("bits", 1, 8));
  ISTHMUS_ASSIGN_OR_RETURN(const int first, arguments.Choice("first", FirstWords(), 0));
  ISTHMUS_ASSIGN_OR_RETURN(const int group, arguments.Choice("group", GroupWords(), 1));
  ISTHMUS_ASSIGN_OR_RETURN(const int store, arguments.Choice("store", StoreWords(), 0));
  ISTHMUS_ASSIGN_OR_RETURN(const int type, arguments.Choice("dtype", TypeWords(), 0));
  ISTHMUS_ASSIGN_OR_RETURN(options.capacity, ReadCapacity(arguments));
  options.bits = static_cast<int>(bits);
  options.first = static_cast<KeyFormat>(first);
  options.group = static_cast<Group>(group);
  options.mapped = store == 1;
  options.type = static_cast<StoreType>(type);
  return std::make_shared<AqsgdCodec>(text, options);
}

}  // namespace isthmus
