// A fine-tuning run from the data owner's side: data, plan, links, steps, checkpoints, report.
#ifndef ISTHMUS_CLIENT_TRAIN_H_
#define ISTHMUS_CLIENT_TRAIN_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/job.h"
#include "client/progress.h"
#include "client/run_output.h"
#include "client/step_data.h"
#include "engine/stage.h"
#include "link/tls.h"
#include "pipeline/edge_dump.h"

namespace isthmus {

// What a command line adds to a job.
struct TrainContext {
  Engine* engine = nullptr;   // computes the client's stages; outlives the run
  std::string worker_engine;  // --engine of an embedded cluster's workers; "": the client's
  std::string coordinator;    // HOST:PORT; empty: an embedded cluster of child processes
  double wait_s = 60.0;       // for a coordinator with enough ready workers
  // After the cluster or the network was lost, or this device slept: goes on from the newest
  // checkpoint, until no step has finished for that long. 0: the run ends.
  double reconnect_s = 0.0;
  bool resume = false;
  bool overwrite = false;
  int64_t threads = 0;  // compute threads of this process and of embedded workers; 0: chosen
  std::string device = "cpu";
  // Of this client's links in this run, both directions: it stops in good order before a step that
  // would go beyond, by the size of the step before. 0: no limit.
  int64_t max_bytes = 0;
  TlsFiles tls;
  bool insecure = false;
  OwnData* own_data = nullptr;   // in place of data.train; needs train.steps
  Progress* progress = nullptr;  // may be null
  // The same news for a program; may be empty. Notices come from the coordinator's thread too.
  std::function<void(const Progress::Step&)> on_step;
  std::function<void(absl::string_view)> on_note;
  EdgeDumpOptions dump;  // of every party of an embedded cluster, else of the client
  const std::atomic<int>* signal =
      nullptr;  // number of the signal that asks to stop after this step; may be null
};

// Runs the job to its end, an interrupt or a failure. The output folder is complete in each case:
// the last checkpoint is intact and report.json says how it ended. A status means that the run
// could not start or failed; its code maps to the exit status. A run that a signal ended returns
// its report with status "interrupted".
absl::StatusOr<Report> RunTraining(const Job& job, const TrainContext& context);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_TRAIN_H_
