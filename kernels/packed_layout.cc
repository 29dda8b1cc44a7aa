#include "kernels/packed_layout.h"

#include "base/check.h"

namespace isthmus {
namespace {

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

bool HasChannelScales(WeightFormat format) {
  return format == WeightFormat::kInt8 || format == WeightFormat::kFp8 ||
         format == WeightFormat::kProgressive4;
}

}  // namespace

PackedLayout LayoutOf(const WeightFormatSpec& spec, int64_t out, int64_t in) {
  ISTHMUS_CHECK(out >= 1 && in >= 1 && out <= INT32_MAX - 64 && in <= INT32_MAX - 64);
  PackedLayout layout;
  layout.out_padded = RoundUp(out, kPanel);
  layout.in_padded = RoundUp(in, 64);
  layout.groups = HasGroups(spec.format) ? (in + spec.group - 1) / spec.group : 1;
  layout.panel_bytes = layout.in_padded * kPanel * CodeBits(spec.format) / 8;
  const int64_t panels = layout.out_padded / kPanel;
  int64_t end = layout.panel_bytes * panels;
  layout.scale_offset = end;
  if (HasChannelScales(spec.format)) {
    end += layout.out_padded * 4;
  } else if (HasGroups(spec.format)) {
    end += layout.out_padded * layout.groups * 2;
  }
  if (spec.format == WeightFormat::kProgressive4) {
    layout.level2_offset = end;
    layout.zero_offset = end + layout.out_padded * layout.groups;
    end = layout.zero_offset + layout.out_padded * layout.groups;
  }
  layout.total_bytes = end;
  return layout;
}

}  // namespace isthmus
