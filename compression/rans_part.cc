// rans: the entropy stage behind a format: codes by interleaved rANS with one table per frame, or
// one for each width that a policy gave (symbol_coder.h), instead of fixed lengths. With `step`,
// one step, no clipping and an entropy coder, it is within 0.255 bit of the Gaussian
// rate-distortion bound at high rate; asymmetric integers with rANS are arXiv 2511.11664's.
#include <memory>

#include "compression/part_table.h"

namespace isthmus {
namespace {

class RansSpec final : public PartSpec {
 public:
  std::string canonical() const override { return "rans"; }
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeRansPart(const SpecPart& part) {
  ISTHMUS_RETURN_IF_ERROR(SpecArguments::Bind(part, {}).status());
  return std::make_shared<RansSpec>();
}

}  // namespace isthmus
