#include "compression/codec.h"

#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "compression/codec_table.h"
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
  if (parts.size() != 1) {
    return InvalidArgument("codec ", text, ": expected one part, got ", parts.size(),
                           " joined by '+'");
  }
  std::vector<absl::string_view> names;
  for (const CodecRow& row : CodecTable()) {
    if (row.name == parts[0].name) return row.make(parts[0], WithoutSpaces(text));
    names.push_back(row.name);
  }
  return InvalidArgument("codec: expected one of ", absl::StrJoin(names, ", "), ", got ",
                         parts[0].name);
}

absl::StatusOr<std::string> DefaultBackward(absl::string_view forward) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const Codec> codec, Codec::Parse(forward));
  return codec->BackwardText();
}

double BitsPerElement(int64_t wire_bytes, int64_t elements) {
  return elements > 0 ? 8.0 * static_cast<double>(wire_bytes) / static_cast<double>(elements) : 0.0;
}

}  // namespace isthmus
