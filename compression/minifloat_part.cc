// minifloat(e, m, n, bias): numbers of 1 + e + m bits with subnormals and without infinities, one
// real-valued bias, that is scale, per n channels of a token. bias=auto searches it for the least
// squared error (Low-bitwidth FP quantisation, arXiv 2408.06995; LLM-FP4, arXiv 2310.16836);
// bias=max puts the largest magnitude on the largest number. Better than integers where values have
// heavy tails, equal on Gaussians.
#include <memory>

#include "compression/levels_part.h"
#include "compression/part_table.h"

namespace isthmus {
namespace {

class MinifloatSpec final : public PartSpec {
 public:
  MinifloatSpec(int exponent, int mantissa, const LevelOptions& options)
      : exponent_(exponent), mantissa_(mantissa), options_(options) {}
  std::string canonical() const override {
    return absl::StrCat("minifloat(e=", exponent_, ",m=", mantissa_, ",n=", options_.n,
                        ",bias=", options_.search ? "auto" : "max", ")");
  }
  PartTraits traits() const override { return {.takes_entropy = true}; }
  std::unique_ptr<ValueFormat> MakeFormat(const EdgeShape&) const override {
    return MakeLevelFormat(MinifloatLevels(exponent_, mantissa_), options_);
  }

 private:
  int exponent_, mantissa_;
  LevelOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeMinifloatPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"e", "m", "n", "bias"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t exponent, arguments.RequiredInt("e", 1, 5));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t mantissa, arguments.RequiredInt("m", 0, 6));
  if (1 + exponent + mantissa > 8 || 1 + exponent + mantissa < 3) {
    return InvalidArgument("codec minifloat: expected 3 to 8 bits with the sign, got ",
                           1 + exponent + mantissa);
  }
  LevelOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.n, arguments.Int("n", 1, 1 << 24, 128));
  ISTHMUS_ASSIGN_OR_RETURN(const int bias, arguments.Choice("bias", {"auto", "max"}, 0));
  options.search = bias == 0;
  return std::make_shared<MinifloatSpec>(static_cast<int>(exponent), static_cast<int>(mantissa),
                                         options);
}

}  // namespace isthmus
