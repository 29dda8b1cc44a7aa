// A kernel bench's report as one JSON document and as a table for people.
#ifndef ISTHMUS_KERNELS_BENCH_REPORT_H_
#define ISTHMUS_KERNELS_BENCH_REPORT_H_

#include <string>

#include "kernels/kernel_bench.h"

namespace isthmus {

// {"target", "peaks": {"vnni_gop_per_s","fma_gflop_per_s","read_gb_per_s","memcpy_gb_per_s"},
//  "rows": [{"kernel","out","in","tokens","threads","gop_per_s","gb_per_s","share_of_limit",
//  "onednn_gop_per_s" (null where there is none)}]}
std::string KernelBenchJson(const KernelBenchReport& report);
std::string KernelBenchTable(const KernelBenchReport& report);  // Markdown

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_BENCH_REPORT_H_
