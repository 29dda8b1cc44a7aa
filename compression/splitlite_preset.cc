// splitlite-style(bits, rank): SplitLite (Li, Tang, Guo, Chen, HKU 2026): both ends hold the rows
// of every sample; a later visit sends the change as two thin matrices of `rank` (twice the LoRA
// rank) quantised to `bits` bits: rank * (1 / tokens + 1 / width) * bits an element.
//
// Differences: activations only (the source codes gradients so too, with rank 4r and 8 bits);
// nearest instead of stochastic rounding, as for all activations here; the rank does not follow the
// energy; a first visit costs 8 bits instead of 16, and so does a change of more than half the
// energy.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeSplitlitePreset(const SpecPart& part,
                                                                 const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "rank"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 1, 8, 4));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t rank, arguments.Int("rank", 1, 1024, 32));
  return ParseComposedCodec(
      text, absl::StrCat("store(first=int8)+lowrank(rank=", rank, ",bits=", bits, ")"));
}

}  // namespace isthmus
