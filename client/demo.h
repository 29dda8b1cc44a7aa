// The demo: the same job over the same slow link twice, uncompressed and compressed, and text
// before and after; a third time, if asked for, with the client's part on the on-device engine
// under a memory limit.
#ifndef ISTHMUS_CLIENT_DEMO_H_
#define ISTHMUS_CLIENT_DEMO_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/job.h"
#include "client/report.h"
#include "client/train.h"

namespace isthmus {

struct DemoOptions {
  std::string job_path;  // examples/demo.yaml
  std::string out;       // folder for the runs, made if needed
  double link_mbps = 20.0;
  std::string codec;                // of the second run, both directions; "": the job file's
  int64_t steps = 0;                // 0: the job file's
  std::string prompt = "ROMEO:\n";  // of the samples
  int64_t sample_tokens = 120;
  Engine* edge_engine = nullptr;  // a third run: the client's part on it; null: none
};

struct DemoRun {
  std::string edge;  // what the on-device client planned; "": another engine
  std::string codec_forward, codec_backward;
  double link_mbps = 0.0;
  Report report;
};

struct DemoResult {
  std::vector<DemoRun> runs;  // uncompressed, compressed, and that with a client on a device
  std::string sample_before, sample_after;
  double speedup() const;  // time of the first run over that of the second
  std::string ToJson() const;
  std::string Table() const;  // for people, samples included
};

// Errors: those of the runs; kCancelled when a signal came. `context.engine`, threads, device,
// progress and signal are used.
absl::StatusOr<DemoResult> RunDemo(const DemoOptions& options, const TrainContext& context);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_DEMO_H_
