// The table of parts (parts.def): names, stages and factories.
#ifndef ISTHMUS_COMPRESSION_PART_TABLE_H_
#define ISTHMUS_COMPRESSION_PART_TABLE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "compression/part.h"
#include "compression/spec.h"

namespace isthmus {

enum class PartStage : uint8_t { kPredictor, kSidecar, kTransform, kPolicy, kFormat, kEntropy };
absl::string_view Name(PartStage stage);  // "predictor", "sidecar" …

using PartFactory = absl::StatusOr<std::shared_ptr<const PartSpec>> (*)(const SpecPart& part);

struct PartRow {
  int order;  // parts of a composition rise in it
  PartStage stage;
  absl::string_view name;
  PartFactory make;
  absl::string_view example;  // a composition with this part
  absl::string_view summary;
};

absl::Span<const PartRow> PartTable();            // in order
const PartRow* FindPart(absl::string_view name);  // null when there is none

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_PART_TABLE_H_
