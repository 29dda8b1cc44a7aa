// The output folder of a run: steps.jsonl, report.json, checkpoints/, TensorBoard events. The one
// place that knows its layout.
//
// Order of use: Check (creates nothing) while the job may still be refused; Open when it is
// accepted; on resume checkpoints().Newest, then ResumeAt; then one AppendStep per finished step;
// WriteReport at the end.
//
// Errors: kInvalidArgument for a folder that holds an earlier run or that another process writes
// now; kDataLoss as checkpoints say; what the file system says otherwise.
//
// Threads: one at a time.
#ifndef ISTHMUS_CLIENT_RUN_OUTPUT_H_
#define ISTHMUS_CLIENT_RUN_OUTPUT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/report.h"
#include "client/run_output_checkpoint.h"

namespace isthmus {

class TensorboardWriter;

enum class OutputMode : uint8_t { kNew, kResume, kOverwrite };

// A line of steps.jsonl.
struct StepRecord {
  int64_t step = 0;   // 1-based
  double loss = 0.0;  // sum of NLL / predicted tokens of the whole step, before the update
  double lr = 0.0;
  double grad_norm = 0.0;  // before clipping, over all parties
  bool clipped = false;
  int64_t tokens = 0;  // input positions
  double tokens_per_s = 0.0;
  int64_t wire_bytes = 0;
  double bits_per_element_forward = 0.0;
  double bits_per_element_backward = 0.0;

  std::string ToJson() const;  // one line, without the newline
};

class RunOutput {
 public:
  // Whether a run may use `folder`. Creates nothing.
  static absl::Status Check(const std::string& folder, OutputMode mode);
  // The resolved job (JSON) of the run that `folder` holds; nullopt when it holds none. For
  // CheckResumable of job.h.
  static absl::StatusOr<std::optional<std::string>> EarlierJob(const std::string& folder);
  // The report of an earlier run that completed; nullopt when there is none.
  static absl::StatusOr<std::optional<Report>> CompletedReport(const std::string& folder);

  // Whether a run goes on from a step in `folder`, or starts at step 1.
  static bool HoldsCheckpoint(const std::string& folder);

  // Check, then makes the folder, takes its lock and keeps the resolved job in it (job.json).
  // kOverwrite removes the earlier run's own files and nothing else. kResume on a folder without a
  // run is a new run.
  static absl::StatusOr<std::unique_ptr<RunOutput>> Open(const std::string& folder, OutputMode mode,
                                                         const std::string& job_json);
  ~RunOutput();
  RunOutput(const RunOutput&) = delete;
  RunOutput& operator=(const RunOutput&) = delete;

  const std::string& folder() const { return folder_; }   // absolute
  std::string Path(const std::string& name) const;        // "adapter" -> FOLDER/adapter
  std::string LogPath(const std::string& process) const;  // FOLDER/logs/PROCESS.log
  CheckpointFolder* checkpoints() { return &checkpoints_; }

  // Keeps the lines of steps.jsonl up to `step`, byte for byte, and drops later and torn ones;
  // TensorBoard and checkpoints likewise. Also removes an earlier report.json. `step` is 0 when
  // there was no checkpoint yet.
  absl::Status ResumeAt(int64_t step);

  // One write(2) each.
  absl::Status AppendStep(const StepRecord& record);
  absl::Status AppendEval(int64_t step, double loss);  // TensorBoard only
  absl::Status Sync();  // what was appended is on the disk; call before a checkpoint is committed
  absl::Status WriteReport(const Report& report);

 private:
  RunOutput(std::string folder, int lock_fd);
  absl::Status OpenFiles();

  std::string folder_;
  int lock_fd_;
  int steps_fd_ = -1;
  CheckpointFolder checkpoints_;
  std::unique_ptr<TensorboardWriter> tensorboard_;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_RUN_OUTPUT_H_
