// amaq(min, max, target, start, gate): the text form of AMAQ.
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "compression/amaq_frame.h"
#include "compression/codec_table.h"

namespace isthmus {
namespace {

class AmaqCodec final : public Codec {
 public:
  AmaqCodec(std::string text, const BitRange& range, GateKind gate)
      : text_(std::move(text)), range_(range), gate_(gate) {}

  std::string text() const override { return text_; }
  std::string canonical() const override {
    return absl::StrCat("amaq(min=", range_.min, ",max=", range_.max, ",target=", range_.target,
                        ",start=", range_.start,
                        gate_ == GateKind::kSoftmax ? ",gate=softmax)" : ")");
  }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const override {
    return MakeAmaqEncoder(range_, gate_, shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const override {
    return MakeAmaqDecoder(range_, shape);
  }
  StateSize StateSizeFor(const EdgeShape& shape) const override {
    return AmaqStateSize(range_, gate_, shape);
  }

 private:
  std::string text_;
  BitRange range_;
  GateKind gate_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Codec>> MakeAmaqCodec(const SpecPart& part,
                                                           const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"min", "max", "target", "start", "gate"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int gate, arguments.Choice("gate", {"sigmoid", "softmax"}, 0));
  BitRange range;
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t min, arguments.RequiredInt("min", 1, 6));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t max, arguments.RequiredInt("max", min + 2, 8));
  // A gate at either end of its sigmoid has no slope: the start lies strictly between.
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t target, arguments.RequiredInt("target", min, max - 1));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t start,
                           arguments.Int("start", std::max(min + 1, target), max - 1, max - 1));
  range.min = static_cast<int>(min);
  range.max = static_cast<int>(max);
  range.target = static_cast<int>(target);
  range.start = static_cast<int>(start);
  return std::make_shared<AmaqCodec>(text, range, static_cast<GateKind>(gate));
}

}  // namespace isthmus
