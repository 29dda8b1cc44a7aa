#include "engine/torch/environment.h"

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

void AvoidTiles() { setenv("DNNL_MAX_CPU_ISA", "AVX512_CORE_BF16", /*overwrite=*/0); }

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
