// isthmus kernel bench: how fast this machine's low-bit products are, beside its limits.
#include "base/status.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "kernels/bench_report.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

absl::Status RunKernel(const Invocation& in) {
  if (in.arguments()[0] != "bench")
    return InvalidArgument("kernel: expected `bench`, got ", in.arguments()[0]);
  if (in.Given("target")) ISTHMUS_RETURN_IF_ERROR(ForceTarget(in.Text("target")));
  KernelBenchOptions options;
  options.quick = in.On("quick");
  const KernelBenchReport report = RunKernelBench(options);
  Print(in.On("json") ? KernelBenchJson(report) + "\n" : KernelBenchTable(report));
  return absl::OkStatus();
}

}  // namespace

CliCommand KernelCommand() {
  return {.name = "kernel",
          .arguments = "bench",
          .least_arguments = 1,
          .most_arguments = 1,
          .summary = "how fast this machine's low-bit matrix products are, beside its limits",
          .notes =
              "One thread, groups of 64, the quantisation of the activations included; _t is "
              "the input gradient.\n"
              "A share of one token is of the read bandwidth, otherwise of the 8-bit peak "
              "(fp32 and bf16: of the FMA peak).",
          .flags = {{.name = "quick",
                     .kind = FlagKind::kSwitch,
                     .help = "weights of 2048 x 2048 alone"},
                    {.name = "target",
                     .value = "NAME",
                     .help = "a lower instruction set than the machine's best: scalar, avx2, "
                             "avx512_vnni, amx; neon, neon_dotprod, neon_i8mm"},
                    {.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}},
          .run = RunKernel};
}

}  // namespace isthmus
