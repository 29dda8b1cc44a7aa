// stamp(bits, levels): STaMP (Federici et al., arXiv 2510.26771): a Haar wavelet along the tokens
// of each sample gathers their common part in the first tokens / 2^levels rows, which get 8 bits;
// the others get `bits`; quantised per token; the first token, a sink, is kept out in 16 bits.
//
// Differences: the number of 8-bit rows follows the sample's length (the source: 64, whatever the
// length, which is a quarter of a sequence of 256); no feature transform (put hadamard into the
// composition for one). For whole sequences only: a stream of single tokens would be all sinks.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"
#include "compression/decimal.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeStampPreset(const SpecPart& part,
                                                             const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "levels"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 1, 7, 4));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t levels, arguments.Int("levels", 1, 12, 5));
  return ParseComposedCodec(
      text, absl::StrCat("pin(tokens=1)+haar(levels=", levels,
                         ")+policy(score=position,allocate=topk,high=8,low=", bits,
                         ",share=", Decimal(100.0 / static_cast<double>(int64_t{1} << levels)),
                         ",within=token)+int(bits=", bits, ",group=token,asym)"));
}

}  // namespace isthmus
