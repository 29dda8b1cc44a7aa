#include "compression/codec.h"

#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"
#include "compression/spec.h"

namespace isthmus {

absl::string_view Name(Direction direction) {
  return direction == Direction::kForward ? "forward" : "backward";
}

absl::Status Encoder::ObserveGradient(absl::Span<const float>, const FrameContext&) {
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Codec>> Codec::Parse(absl::string_view text) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<SpecPart> parts, ParseSpec(text));
  std::vector<absl::string_view> names;
  for (const CodecRow& row : CodecTable()) {
    if (parts.size() == 1 && row.name == parts[0].name)
      return row.make(parts[0], WithoutSpaces(text));
    names.push_back(row.name);
  }
  if (parts.size() == 1 && FindPart(parts[0].name) == nullptr) {
    return InvalidArgument("codec: expected one of ", absl::StrJoin(names, ", "),
                           " or a composition of parts, got ", parts[0].name);
  }
  ISTHMUS_ASSIGN_OR_RETURN(Composition composition, MakeComposition(WithoutSpaces(text), parts));
  return MakeComposedCodec(WithoutSpaces(text), std::move(composition));
}

absl::StatusOr<std::string> DefaultBackward(absl::string_view forward) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const Codec> codec, Codec::Parse(forward));
  return codec->BackwardText();
}

double BitsPerElement(int64_t wire_bytes, int64_t elements) {
  return elements > 0 ? 8.0 * static_cast<double>(wire_bytes) / static_cast<double>(elements) : 0.0;
}

}  // namespace isthmus
