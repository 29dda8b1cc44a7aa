// shiftquant(bits, groups): ShiftQuant (arXiv 2411.11360): channels in groups whose ranges differ
// by powers of two, one scale for the tensor.
//
// Differences: the grouping rule is inferred from the abstract (thresholds at powers of two below
// the largest channel); stochastic rounding for gradients, as everywhere here.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeShiftquantPreset(const SpecPart& part,
                                                                  const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "groups"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 2, 8, 6));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t groups, arguments.Int("groups", 2, 64, 8));
  return ParseComposedCodec(text, absl::StrCat("channel_pow2(groups=", groups, ")+int(bits=", bits,
                                               ",group=tensor,sym)"));
}

}  // namespace isthmus
