// llmint8(bits, over): LLM.int8() (Dettmers et al., arXiv 2208.07339): columns with a magnitude
// beyond `over` travel in 16 bits, the rest as symmetric integers with a scale per token.
//
// Differences: bf16 columns instead of fp16 (same bits, no overflow); at most one column in eight;
// the source is a matrix product with per-column weights, this is its wire.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeLlmint8Preset(const SpecPart& part,
                                                               const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "over"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 2, 8, 8));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t over, arguments.Int("over", 1, 1000000, 6));
  return ParseComposedCodec(
      text, absl::StrCat("outliers(over=", over, ")+int(bits=", bits, ",group=token,sym)"));
}

}  // namespace isthmus
