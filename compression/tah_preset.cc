// tah(bits): TAH-Quant (He et al., arXiv 2506.01352): tiles of 64 channels; a tile whose largest
// value is at least twice its second is pivoted and Hadamard-mixed; of each token the 80 % of tiles
// with the highest entropy get `bits` bits, the others one less; asymmetric, nearest.
//
// Differences: scale and offset in bf16, rounded outward (the source: 16-bit scale and zero); a
// pivot index only for the tiles that are mixed; entropy is computed with its minus sign, which the
// source's formula lacks. Gradients, 6 to 8 bits there, are another spec here (int8, say).
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/codec_table.h"
#include "compression/composition.h"

namespace isthmus {

absl::StatusOr<std::shared_ptr<const Codec>> MakeTahPreset(const SpecPart& part,
                                                           const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"bits"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 2, 8, 4));
  return ParseComposedCodec(
      text, absl::StrCat("hadamard(block=64,gated)+policy(score=entropy,allocate=topk,high=", bits,
                         ",low=", bits - 1, ",share=80,within=token)+int(bits=", bits,
                         ",group=tile,n=64,asym)"));
}

}  // namespace isthmus
