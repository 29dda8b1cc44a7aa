#include "compression/part_table.h"

namespace isthmus {

#define ISTHMUS_PART(order, stage, name, factory, example, summary) \
  absl::StatusOr<std::shared_ptr<const PartSpec>> factory(const SpecPart& part);
#include "compression/parts.def"
#undef ISTHMUS_PART

absl::string_view Name(PartStage stage) {
  static constexpr absl::string_view kNames[] = {"predictor", "sidecar", "transform",
                                                 "policy",    "format",  "entropy"};
  return kNames[static_cast<int>(stage)];
}

absl::Span<const PartRow> PartTable() {
  static constexpr PartRow kRows[] = {
#define ISTHMUS_PART(order, stage, name, factory, example, summary) \
  {order, PartStage::stage, name, factory, example, summary},
#include "compression/parts.def"
#undef ISTHMUS_PART
  };
  return kRows;
}

const PartRow* FindPart(absl::string_view name) {
  for (const PartRow& row : PartTable())
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace isthmus
