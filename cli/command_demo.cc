// isthmus demo: a whole cluster on this machine, slow links, with and without compression.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/engine.h"
#include "cli/output.h"
#include "client/demo.h"
#include "client/interrupt.h"
#include "client/progress.h"
#include "engine/edge/engine.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

// Installed beside the program, or in the source tree it was built from.
absl::StatusOr<std::string> FindDemoJob() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path places[] = {program.parent_path().parent_path() / "share/isthmus/examples",
                             ISTHMUS_EXAMPLES_SOURCE};
  for (const fs::path& place : places) {
    if (fs::exists(place / "demo.yaml", error)) return (place / "demo.yaml").string();
  }
  return NotFound("demo: expected demo.yaml in ", places[0].string(), " or ", places[1].string(),
                  ", got none");
}

// A folder that goes when the demo ends.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "isthmus-demo-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

absl::StatusOr<DemoResult> RunIn(const std::string& folder, const Invocation& in) {
  DemoOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.job_path, FindDemoJob());
  options.out = fs::absolute(folder).string();
  options.link_mbps = in.Number("link-mbps");
  options.codec = in.Text("codec");
  options.steps = in.Integer("steps");
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEngine(in));
  Progress progress(Progress::Choose(in.On("quiet")));
  TrainContext context;
  context.engine = engine.get();
  std::unique_ptr<Engine> edge;
  if (in.On("edge")) {
    ISTHMUS_ASSIGN_OR_RETURN(edge, MakeEdgeEngine(in.Integer("threads")));
    options.edge_engine = edge.get();
  }
  context.threads = in.Integer("threads");
  context.device = in.Text("device");
  context.progress = &progress;
  context.signal = Interrupt::flag();
  return RunDemo(options, context);
}

absl::Status RunDemoCommand(const Invocation& in) {
  absl::StatusOr<DemoResult> result;
  if (in.Given("out")) {
    result = RunIn(in.Text("out"), in);
  } else {
    const TemporaryFolder folder;
    if (folder.path().empty())
      return ResourceExhausted("demo: expected a temporary folder, got none");
    result = RunIn(folder.path(), in);
  }
  ISTHMUS_RETURN_IF_ERROR(result.status());
  Print(in.On("json") ? result->ToJson() : result->Table());
  return absl::OkStatus();
}

}  // namespace

CliCommand DemoCommand() {
  CliCommand command = {
      .name = "demo",
      .summary = "a split fine-tuning run on this machine, with and without compression",
      .notes =
          "Coordinator, two workers and client as processes, slow links emulated; a small story "
          "model learns Shakespeare.",
      .flags = {{.name = "link-mbps",
                 .kind = FlagKind::kNumber,
                 .value = "N",
                 .help = "rate of every host's link",
                 .fallback = "20",
                 .least = 0.1,
                 .most = 1e6},
                {.name = "codec",
                 .value = "SPEC",
                 .help = "of the compressed run (default: as examples/demo.yaml says)"},
                {.name = "steps",
                 .kind = FlagKind::kInteger,
                 .value = "N",
                 .help = "updates of each run (default: as examples/demo.yaml says)"},
                {.name = "edge",
                 .kind = FlagKind::kSwitch,
                 .help = "a third run: the client on the on-device engine, 8-bit weights, 16 MiB"},
                {.name = "out", .value = "DIR", .help = "keep the runs here (default: nowhere)"},
                {.name = "quiet", .kind = FlagKind::kSwitch, .help = "no progress"},
                {.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}},
      .ends_orderly = true,
      .run = RunDemoCommand};
  const std::vector<Flag> compute = ComputeFlags();
  command.flags.insert(command.flags.end(), compute.begin(), compute.end());
  return command;
}

}  // namespace isthmus
