// How fast the kernels are on this machine, beside its limits: what `isthmus kernel bench` prints.
//
// Products of 2048 x 2048, 4096 x 4096 and 11008 x 4096 weights with 1, 16, 128 and 512 tokens, the
// quantisation of the activations and groups of 64 included; `_t` is the input gradient. bf16
// weights are multiplied with activations rounded to bf16. One token walks over 256 MiB of weights,
// so that they come from memory. Every repeat measures the limit right before the kernel, in the
// time of the calling thread, and a share is of that limit: medians.
#ifndef ISTHMUS_KERNELS_KERNEL_BENCH_H_
#define ISTHMUS_KERNELS_KERNEL_BENCH_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace isthmus {

struct KernelBenchOptions {
  int repeats = 5;
  double seconds_per_repeat = 0.04;  // at least one product
  bool quick = false;                // 2048 x 2048 alone
  // GOP/s of another library's 8-bit product, weights packed and activations quantised beforehand;
  // may be empty.
  std::function<double(int64_t out, int64_t in, int64_t tokens)> reference;
};

struct KernelBenchRow {
  std::string kernel;
  int64_t out = 0;
  int64_t in = 0;
  int64_t tokens = 0;
  int threads = 1;
  double gop_per_s = 0.0;
  double gb_per_s = 0.0;  // of packed weights
  // One token: of the read bandwidth; otherwise of the integer peak, fp32 and bf16 of the FMA peak.
  double share_of_limit = 0.0;
  double reference_gop_per_s = 0.0;  // 0: none
};

struct KernelBenchReport {
  std::string target;
  double int_peak_gops = 0.0;
  double fma_peak_gflops = 0.0;
  double read_gb_per_s = 0.0;
  double memcpy_gb_per_s = 0.0;
  std::vector<KernelBenchRow> rows;
};

KernelBenchReport RunKernelBench(const KernelBenchOptions& options = {});

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_KERNEL_BENCH_H_
