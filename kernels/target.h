// Which instruction set the kernels run on: found once, at the first product; may be forced to a
// lower one. All give the same bits, so a choice is about speed only.
#ifndef ISTHMUS_KERNELS_TARGET_H_
#define ISTHMUS_KERNELS_TARGET_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "kernels/kernel_table.h"

namespace isthmus {

// In order of preference within an architecture; the machine's best is the last it supports.
enum class KernelTarget {
  kScalar,
  kAvx2,        // with FMA
  kAvx512Vnni,  // F, BW, VL, VBMI, VNNI
  kAmx,         // AMX int8 and bf16 on top
  kNeon,        // every 64-bit ARM processor
  kNeonDotprod,
  kNeonI8mm,  // on top of the dot product
};

// "scalar", "avx2", "avx512_vnni", "amx", "neon", "neon_dotprod", "neon_i8mm".
absl::string_view TargetName(KernelTarget target);

// What this machine, its kernel and this build support; never empty, kScalar first.
std::vector<KernelTarget> SupportedTargets();

// The target in force: the one forced, else ISTHMUS_KERNEL_TARGET of the environment where it names
// a supported one, else the best.
KernelTarget CurrentTarget();

// For tests and measurements; not while products run. kInvalidArgument: a target that this machine
// does not support, with the list of those it does.
absl::Status ForceTarget(KernelTarget target);
absl::Status ForceTarget(absl::string_view name);

// The loops for a product of `rows` rows on the target in force.
const KernelTable& KernelsFor(int64_t rows);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_TARGET_H_
