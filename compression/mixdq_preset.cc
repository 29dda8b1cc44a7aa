// mixdq-pin(bits, tokens): the outlier rule of MixDQ (Zhao et al., arXiv 2405.17873): the first
// token of a sequence is an outlier whatever the text, so it is excluded; the rest is quantised per
// tensor.
//
// Differences: the pinned token is sent in bf16 each time (the source computes it once, its text
// encoder being frozen); the choice of bits by layer is the allocator's (policy), not this
// preset's.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeMixdqPreset(const SpecPart& part,
                                                             const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "tokens"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 2, 8, 8));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t tokens, arguments.Int("tokens", 1, 64, 1));
  return ParseComposedCodec(
      text, absl::StrCat("pin(tokens=", tokens, ")+int(bits=", bits, ",group=tensor,asym)"));
}

}  // namespace isthmus
