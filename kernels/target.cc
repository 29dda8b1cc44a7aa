#include "kernels/target.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <atomic>
#include <cstdlib>

#include "absl/strings/str_join.h"
#include "base/status.h"

namespace isthmus {
namespace {

#if defined(__x86_64__)

// The registers that the operating system saves (XCR0): without them an instruction that CPUID
// names faults.
uint64_t SavedState() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0) return 0;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// Linux gives a process the 8 KiB of tile registers only when it asks.
bool TilesGranted() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool Detect(KernelTarget target) {
  uint32_t a = 0, b = 0, c = 0, d = 0, c1 = 0;
  if (!__get_cpuid(1, &a, &b, &c1, &d)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const uint64_t saved = SavedState();
  constexpr uint64_t kYmm = 0x6, kZmm = 0xE6, kTiles = 0x60000;
  switch (target) {
    case KernelTarget::kScalar:
      return true;
    case KernelTarget::kAvx2:
      return (b >> 5 & 1) != 0 && (c1 & bit_FMA) != 0 && (saved & kYmm) == kYmm;
    case KernelTarget::kAvx512Vnni:
      // F, BW, DQ, VL in ebx; VBMI, VNNI in ecx.
      return Detect(KernelTarget::kAvx2) && (b >> 16 & 1) != 0 && (b >> 30 & 1) != 0 &&
             (b >> 17 & 1) != 0 && (b >> 31 & 1) != 0 && (c >> 1 & 1) != 0 && (c >> 11 & 1) != 0 &&
             (saved & kZmm) == kZmm;
    case KernelTarget::kAmx:
      // BF16, TILE, INT8 in edx.
      return Detect(KernelTarget::kAvx512Vnni) && (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0 &&
             (d >> 25 & 1) != 0 && (saved & kTiles) == kTiles && TilesGranted();
    default:
      return false;
  }
}

#elif defined(__aarch64__)

bool Detect(KernelTarget target) {
  switch (target) {
    case KernelTarget::kScalar:
    case KernelTarget::kNeon:
      return true;
    case KernelTarget::kNeonDotprod:
      return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    case KernelTarget::kNeonI8mm:
      return Detect(KernelTarget::kNeonDotprod) && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    default:
      return false;
  }
}

#else

bool Detect(KernelTarget target) { return target == KernelTarget::kScalar; }

#endif

const KernelTable* TableOf(KernelTarget target) {
  switch (target) {
#if defined(__x86_64__)
    case KernelTarget::kAvx2:
      return Avx2Kernels();
    case KernelTarget::kAvx512Vnni:
      return Avx512VnniKernels();
    case KernelTarget::kAmx:
      return AmxKernels();
#elif defined(__aarch64__)
    case KernelTarget::kNeon:
      return NeonKernels();
    case KernelTarget::kNeonDotprod:
      return NeonDotprodKernels();
    case KernelTarget::kNeonI8mm:
      return NeonI8mmKernels();
#endif
    default:
      return target == KernelTarget::kScalar ? ScalarKernels() : nullptr;
  }
}

constexpr KernelTarget kAll[] = {KernelTarget::kScalar,     KernelTarget::kAvx2,
                                 KernelTarget::kAvx512Vnni, KernelTarget::kAmx,
                                 KernelTarget::kNeon,       KernelTarget::kNeonDotprod,
                                 KernelTarget::kNeonI8mm};

std::vector<std::string> Names(const std::vector<KernelTarget>& targets) {
  std::vector<std::string> names;
  for (KernelTarget target : targets) names.emplace_back(TargetName(target));
  return names;
}

KernelTarget Preferred() {
  const char* wanted = std::getenv("ISTHMUS_KERNEL_TARGET");
  const std::vector<KernelTarget> supported = SupportedTargets();
  for (KernelTarget target : supported) {
    if (wanted != nullptr && TargetName(target) == wanted) return target;
  }
  return supported.back();
}

std::atomic<KernelTarget>& Current() {
  static std::atomic<KernelTarget> current{Preferred()};
  return current;
}

}  // namespace

absl::string_view TargetName(KernelTarget target) {
  switch (target) {
    case KernelTarget::kAvx2:
      return "avx2";
    case KernelTarget::kAvx512Vnni:
      return "avx512_vnni";
    case KernelTarget::kAmx:
      return "amx";
    case KernelTarget::kNeon:
      return "neon";
    case KernelTarget::kNeonDotprod:
      return "neon_dotprod";
    case KernelTarget::kNeonI8mm:
      return "neon_i8mm";
    default:
      return "scalar";
  }
}

std::vector<KernelTarget> SupportedTargets() {
  static const auto* const supported = [] {
    auto* found = new std::vector<KernelTarget>;
    for (KernelTarget target : kAll) {
      if (TableOf(target) != nullptr && Detect(target)) found->push_back(target);
    }
    return found;
  }();
  return *supported;
}

KernelTarget CurrentTarget() { return Current().load(std::memory_order_relaxed); }

absl::Status ForceTarget(absl::string_view name) {
  for (KernelTarget target : SupportedTargets()) {
    if (TargetName(target) != name) continue;
    Current().store(target, std::memory_order_relaxed);
    return absl::OkStatus();
  }
  return InvalidArgument("kernel target: expected one of ",
                         absl::StrJoin(Names(SupportedTargets()), " "), " on this machine, got '",
                         name, "'");
}

absl::Status ForceTarget(KernelTarget target) { return ForceTarget(TargetName(target)); }

const KernelTable& KernelsFor(int64_t rows) {
  const KernelTarget target = CurrentTarget();
  if (target == KernelTarget::kAmx && rows < kRowTile) return *TableOf(KernelTarget::kAvx512Vnni);
  if (target == KernelTarget::kNeonI8mm && rows < 2) return *TableOf(KernelTarget::kNeonDotprod);
  return *TableOf(target);
}

}  // namespace isthmus
