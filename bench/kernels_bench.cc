// The low-bit products beside this machine's limits and beside oneDNN where it is installed: one
// JSON document on standard output, the same as a table on standard error. Arguments: --quick
// (2048 x 2048 alone), --target NAME (a lower instruction set).
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "bench/onednn.h"
#include "kernels/bench_report.h"
#include "kernels/target.h"

int main(int argc, char** argv) {
  isthmus::KernelBenchOptions options;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--target" && i + 1 < argc) {
      const absl::Status status = isthmus::ForceTarget(absl::string_view(argv[++i]));
      if (!status.ok()) {
        std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
        return 2;
      }
    } else {
      std::fprintf(stderr, "expected --quick or --target NAME, got %s\n", argv[i]);
      return 2;
    }
  }
  options.reference = isthmus::bench::OnednnInt8();
  const isthmus::KernelBenchReport report = isthmus::RunKernelBench(options);
  std::fputs(isthmus::KernelBenchTable(report).c_str(), stderr);
  std::printf("%s\n", isthmus::KernelBenchJson(report).c_str());
  return 0;
}
