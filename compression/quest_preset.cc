// quest(bits): QuEST's forward quantiser (Panferov et al., arXiv 2502.05003): Hadamard blocks of
// 128, divided by their RMS and clipped where a uniform grid of 2^bits levels has the least error
// on a Gaussian. For 1 to 4 bits: at 8 min-max is 3 dB better.
//
// Differences: a range per block of 128 around its mean (the source: one RMS per row, no mean); the
// trust mask of its backward pass is the trainer's, not the wire's.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeQuestPreset(const SpecPart& part,
                                                             const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"bits"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 1, 4, 4));
  return ParseComposedCodec(
      text, absl::StrCat("hadamard(block=128,plain)+int(bits=", bits, ",group=tile,n=128,asym",
                         bits == 1 ? ")" : ",range=rms)"));
}

}  // namespace isthmus
