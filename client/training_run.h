// TrainingRun: one job from its files to its report, as the list of steps it is. RunTraining
// (client/train.h) calls them in order.
#ifndef ISTHMUS_CLIENT_TRAINING_RUN_H_
#define ISTHMUS_CLIENT_TRAINING_RUN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "client/adaptive_quality.h"
#include "client/batches.h"
#include "client/cluster.h"
#include "client/job.h"
#include "client/plan_request.h"
#include "client/report.h"
#include "client/run_output.h"
#include "client/session.h"
#include "client/step_data.h"
#include "client/train.h"
#include "link/coordinator_client.h"
#include "model/adapter.h"
#include "model/dataset.h"
#include "model/weights.h"

namespace isthmus {

// Threads: one; what the coordinator says comes from its own thread into `outside_`.
class TrainingRun {
 public:
  // `recoveries`: how often an earlier TrainingRun of this job was given up for this one.
  TrainingRun(const Job& job, const TrainContext& context, int64_t recoveries = 0);
  ~TrainingRun();

  // Everything that can be refused: creates nothing. Sets done() when an earlier run completed.
  absl::Status Prepare();
  bool done() const { return done_; }
  // Output folder, cluster, plan, links, layers at every party.
  absl::Status Connect();
  // Steps with evaluations and checkpoints, then what a run leaves. Interrupted runs end here too.
  absl::Status Train();

  // After a failure of Connect or Train: writes report.json as far as it goes and returns the
  // clearest status.
  absl::Status Fail(absl::Status status);
  void Close();
  Report& report() { return report_; }
  int64_t steps_done() const { return last_step_done_; }

 private:
  // What the coordinator says while the run is busy.
  struct Outside {
    Mutex mutex;
    absl::Status status ISTHMUS_GUARDED_BY(mutex);  // why the job must end
    bool stopped_by_user ISTHMUS_GUARDED_BY(mutex) = false;
    ClientSession* session ISTHMUS_GUARDED_BY(mutex) = nullptr;
  };

  // training_run_prepare.cc
  absl::Status TakeOverEarlierRun();
  absl::StatusOr<bool> CompletedEarlier(const Report& earlier) const;
  int64_t TotalSteps(const Job::Train& train) const;
  absl::Status OpenModel();
  absl::Status ReadData();
  absl::Status ReadOwnData();
  absl::Status CheckDataKeys() const;
  absl::Status CheckSplit() const;
  absl::StatusOr<std::vector<Window>> ReadWindows(const std::string& path,
                                                  const Tokenizer* tokenizer) const;
  absl::Status ReadStartAdapter();
  std::string ResolvedJobJson() const;
  absl::Status StartCluster();
  absl::Status SubmitJob();
  absl::Status OpenSession();

  // training_run.cc
  absl::Status Begin();
  absl::Status ResumeFrom(const Checkpoint& checkpoint);
  absl::StatusOr<std::vector<Window>> WindowsOf(int64_t step);  // none: the data have ended
  absl::Status Step(int64_t step, const std::vector<Window>& windows);
  absl::Status Record(int64_t step, double lr, const StepResult& result,
                      const WindowBatches& batches, double seconds);
  absl::Status AdaptQuality(const StepResult& result, uint32_t micro_batches, double seconds);
  absl::StatusOr<bool> EvaluateNow(int64_t step);  // false: patience is over
  absl::StatusOr<double> Evaluate(int64_t step, bool uncompressed);
  absl::Status WriteCheckpoint(int64_t step, bool best);
  absl::Status WriteResult();
  absl::Status Finish(Report::Outcome outcome);
  bool StopAsked();
  bool BudgetUsed(int64_t step);  // --max-bytes has no room for it
  void FillReport();
  std::string ExtraJson() const;
  absl::Status ReadExtra(const std::string& json, int64_t step);
  void Note(const std::string& text);

  Job job_;
  const TrainContext& context_;
  bool done_ = false;
  const int64_t start_us_;
  int64_t threads_ = 1;
  TlsFiles tls_;

  std::unique_ptr<ModelDirectory> model_;
  std::unique_ptr<WeightSource> random_;
  ModelConfig config_;
  std::unique_ptr<StepData> data_;
  std::vector<Window> eval_windows_;
  DataFacts facts_;
  ChosenCodec codec_;
  Codec::StateSize stores_;  // on this machine
  std::optional<Adapter> start_adapter_;
  std::optional<Checkpoint> checkpoint_;

  std::unique_ptr<RunOutput> output_;
  std::unique_ptr<EmbeddedCluster> cluster_;
  Outside outside_;
  int64_t traffic_before_ = 0;  // the step that is next
  std::unique_ptr<JobControl> control_;
  std::unique_ptr<ClientSession> session_;

  Report report_;
  bool codec_left_open_ = false;            // codec: auto, as the job says it
  std::optional<AdaptiveQuality> quality_;  // codec: auto
  int64_t first_step_ = 1;
  int64_t last_step_done_ = 0;
  double best_eval_ = 0.0;
  bool has_best_ = false;
  int64_t evals_without_better_ = 0;
  std::vector<ClientSession::EdgeTotal> earlier_totals_;  // of the runs before this resume
  std::vector<ClientSession::EdgeTotal> last_totals_;     // at the end of the last step
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_TRAINING_RUN_H_
