#include "compression/codec_table.h"

namespace isthmus {

#define ISTHMUS_CODEC(number, name, factory, example, summary)               \
  absl::StatusOr<std::shared_ptr<const Codec>> factory(const SpecPart& part, \
                                                       const std::string& text);
#include "compression/codecs.def"
#undef ISTHMUS_CODEC

absl::Span<const CodecRow> CodecTable() {
  static constexpr CodecRow kRows[] = {
#define ISTHMUS_CODEC(number, name, factory, example, summary) \
  {number, name, factory, example, summary},
#include "compression/codecs.def"
#undef ISTHMUS_CODEC
  };
  return kRows;
}

}  // namespace isthmus
