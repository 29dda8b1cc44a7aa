// splitcom-style(bits, cosine): SplitCom (arXiv 2602.10564): a sample whose activations have a
// cosine of at least `cosine` with those of its last upload is not sent; the receiver computes on
// what it holds.
//
// Differences: the threshold is fixed (the source steers it by validation perplexity or learns it);
// the cosine is of the rows themselves (there: of a random projection, which saves the sender
// memory); what is sent is `bits` bits per token instead of floats. Cosine ignores the norm and
// bounds no error: the source's own table shows lower scores with it.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"
#include "compression/decimal.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeSplitcomPreset(const SpecPart& part,
                                                                const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "cosine"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 2, 8, 8));
  ISTHMUS_ASSIGN_OR_RETURN(const double cosine, arguments.Number("cosine", 0.0, 1.0, 0.98));
  return ParseComposedCodec(text, absl::StrCat("skip(cosine=", Decimal(cosine), ")+int(bits=", bits,
                                               ",group=token,sym)"));
}

}  // namespace isthmus
