#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "isthmus/version.h"
#include "link/frame.h"

namespace isthmus {

CliCommand VersionCommand() {
  return {.name = "version",
          .summary = "version of the program and of what it speaks",
          .run = [](const Invocation&) {
            Print(absl::StrCat("isthmus ", kVersion, " (revision ", kRevision, ", wire version ",
                               kWireVersion, ")\n"));
            return absl::OkStatus();
          }};
}

}  // namespace isthmus
