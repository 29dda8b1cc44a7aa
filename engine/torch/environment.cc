#include "engine/torch/environment.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <malloc.h>
#include <unistd.h>

#include <cstdlib>

namespace isthmus {

std::string BlasKernels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx2 && avx512) return "SkylakeX";
  if (avx2) return "Haswell";
#endif
  return "";
}

void AvoidUndescribedTiles() {
#if defined(__x86_64__)
  constexpr unsigned kAmxTile = 1u << 24;  // leaf 7, EDX
  unsigned a = 0, b = 0, c = 0, d = 0, palettes = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kAmxTile) == 0) return;
  if (__get_cpuid_count(0x1d, 0, &palettes, &b, &c, &d) != 0 && palettes > 0) return;
  setenv("DNNL_MAX_CPU_ISA", "AVX512_CORE_BF16", /*overwrite=*/0);
#endif
}

void TuneProcess(char** argv) {
  constexpr const char* kCoreType = "OPENBLAS_CORETYPE";
  const std::string kernels = BlasKernels();
  if (!kernels.empty() && std::getenv(kCoreType) == nullptr &&
      setenv(kCoreType, kernels.c_str(), /*overwrite=*/0) == 0) {
    execv("/proc/self/exe", argv);  // returns only when it fails: then slower kernels will do
  }
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace isthmus
