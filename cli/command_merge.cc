#include "cli/commands.h"
#include "model/adapter.h"

namespace isthmus {

CliCommand MergeCommand() {
  return {.name = "merge",
          .summary = "base and adapter as a plain Hugging Face folder",
          .flags = {{.name = "model", .value = "DIR", .help = "the base model", .required = true},
                    {.name = "adapter", .value = "DIR", .help = "a PEFT adapter", .required = true},
                    {.name = "out", .value = "DIR", .help = "folder to make", .required = true}},
          .run = [](const Invocation& in) {
            return MergeAdapter(in.Text("model"), in.Text("adapter"), in.Text("out"));
          }};
}

}  // namespace isthmus
