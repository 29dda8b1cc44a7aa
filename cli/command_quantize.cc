// isthmus quantize: a model's matrices in a low-bit format, for the on-device engine.
#include "base/status.h"
#include "cli/commands.h"
#include "engine/edge/packed_model.h"
#include "kernels/weight_format.h"

namespace isthmus {

CliCommand QuantizeCommand() {
  return {.name = "quantize",
          .summary = "a model's matrices in a low-bit format, for the on-device engine",
          .notes =
              "Rounds to nearest. Embedding and head keep 8 bits at least; groups are 32, 64 "
              "or 128 inputs.",
          .flags = {{.name = "model", .value = "DIR", .help = "the model", .required = true},
                    {.name = "out", .value = "DIR", .help = "folder to make", .required = true},
                    {.name = "format",
                     .value = "FORMAT",
                     .help = "bf16, int8, int8gN, int4gN, progressive4gN, nf4gN, fp8 or fp4gN",
                     .required = true}},
          .run = [](const Invocation& in) -> absl::Status {
            const absl::StatusOr<WeightFormatSpec> spec = ParseWeightFormat(in.Text("format"));
            if (!spec.ok()) return Annotate(spec.status(), "--format");
            return QuantizeModel(in.Text("model"), in.Text("out"), *spec);
          }};
}

}  // namespace isthmus
