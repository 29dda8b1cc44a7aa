// The table of codecs (codecs.def) and what a codec's own file needs to join it.
#ifndef ISTHMUS_COMPRESSION_CODEC_TABLE_H_
#define ISTHMUS_COMPRESSION_CODEC_TABLE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "compression/codec.h"
#include "compression/spec.h"

namespace isthmus {

using CodecFactory = absl::StatusOr<std::shared_ptr<const Codec>> (*)(const SpecPart& part,
                                                                      const std::string& text);

struct CodecRow {
  uint16_t number;
  absl::string_view name;
  CodecFactory make;
  absl::string_view example;  // a spec of this name that parses
  absl::string_view summary;  // arguments with their values and defaults
};

// Every codec of this build, by number.
absl::Span<const CodecRow> CodecTable();

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_CODEC_TABLE_H_
