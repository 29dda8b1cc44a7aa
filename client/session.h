// ClientSession: the data owner's end of one plan in force. Dials the workers, holds the client's
// stages, drives steps, evaluations, generation, and gathers state. The training loop above it
// decides what to do; this does it.
//
// Errors: the first failure of any party ends the session; its status says which party and why
// (kUnavailable for a lost worker).
//
// Threads: one, the client's stage thread; Abort from any.
#ifndef ISTHMUS_CLIENT_SESSION_H_
#define ISTHMUS_CLIENT_SESSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/state_pull.h"
#include "engine/stage.h"
#include "isthmus/v1/plan.pb.h"
#include "link/grpc_link.h"
#include "link/inbox.h"
#include "pipeline/peer_links.h"
#include "pipeline/run_metrics.h"
#include "pipeline/stage_runner.h"

namespace isthmus {

struct ClientSessionOptions {
  Engine* engine = nullptr;
  int64_t threads = 0;
  std::string device = "cpu";
  EdgeSpec edge;          // this party's alone: plans do not carry it
  std::string state_dir;  // memory-mapped stores
  GrpcOptions grpc;
  EdgeDumpOptions dump;  // what the client sends
};

// What a step left behind.
struct StepResult {
  double loss_sum = 0.0;  // of all predicted tokens of the step, before the update
  int64_t predicted = 0;
  double grad_norm = 0.0;  // before clipping, over all parties
  bool clipped = false;
  PassTimes times;                           // of the client's stage thread
  std::map<uint32_t, double> worker_busy_s;  // by party: computing, encoding and decoding
};

class ClientSession {
 public:
  // `weights` serves the client's layers and the tensors that workers ask for; it outlives the
  // session. Connects to nobody yet: Abort works from here on.
  static absl::StatusOr<std::unique_ptr<ClientSession>> Make(const v1::Plan& plan,
                                                             const ModelConfig& config,
                                                             WeightSource* weights);
  // Dials the workers and returns when each holds its layers. Once, before anything else.
  absl::Status Start(const std::string& token, const ClientSessionOptions& options);
  // What the engine planned for this party, after Start.
  MemoryPlan memory_plan() const { return group_->memory_plan(); }
  ~ClientSession();

  // Of every edge's codec against its spec, from the next step on.
  void set_quality_offset_db(double db) { quality_offset_db_ = db; }
  absl::StatusOr<StepResult> TrainStep(uint64_t step, uint32_t micro_batches, double loss_scale,
                                       double lr, BatchSource* source);
  // The same by probes (engine/zeroth_order.h): plan().train().probes() pairs of forward passes at
  // eps on either side. loss_sum is their mean; grad_norm the root mean square of the slopes, whose
  // expectation is the gradient's norm.
  absl::StatusOr<StepResult> ProbeStep(uint64_t step, uint32_t micro_batches, double eps, double lr,
                                       BatchSource* source);
  absl::StatusOr<std::vector<MicroBatchLoss>> Evaluate(uint64_t step, uint32_t micro_batches,
                                                       bool uncompressed, BatchSource* source);

  // Trained tensors (and optimizer state) of all parties in model order, each once. They are
  // loaded in order, `trained` before `optimizer`, with nothing else done by the session between:
  // each comes from its party when its turn is near (StatePull), so that the client holds one of
  // them and a few MB. An error of `load` is one of the session.
  struct State {
    TensorStream trained, optimizer;
  };
  absl::StatusOr<State> OpenState(bool optimizer);
  // Each party takes what it holds. `optimizer_state` may be empty.
  absl::Status SetState(absl::Span<const NamedTensor> trained,
                        absl::Span<const NamedTensor> optimizer_state);

  // Codec state of every party. `directory(party)` is where, "" = each party's own place. Hashes by
  // party; an empty one: the party keeps none.
  using DirectoryOf = std::function<absl::StatusOr<std::string>(uint32_t party)>;
  absl::StatusOr<std::map<uint32_t, std::string>> SaveCodecs(uint64_t step,
                                                             const DirectoryOf& directory);
  // False, with the reason, when a party lacks its state: then every edge starts again from key
  // frames at both ends.
  absl::StatusOr<bool> RestoreCodecs(uint64_t step, const std::map<uint32_t, std::string>& hashes,
                                     const DirectoryOf& directory, std::string* reason);

  // Generation: logits of the last position after `ids` more tokens.
  absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids, bool reset);

  // Tells the workers that the job is over and closes the links in good order.
  absl::Status Close();
  void Abort(absl::Status why);

  // Bytes of all parties since the session began, per edge, direction and kind of traffic.
  struct EdgeTotal {
    uint32_t edge = 0;
    Direction direction = Direction::kForward;
    Traffic traffic = Traffic::kTraining;
    EdgeUse use;
  };
  std::vector<EdgeTotal> totals() const;
  // Over this client's links, both directions, everything included.
  int64_t traffic_bytes() const {
    const LinkStats stats = links_.TotalStats();
    return stats.sent_bytes + stats.received_bytes;
  }
  std::map<uint32_t, int64_t> peak_rss_by_party() const { return peak_rss_; }
  const v1::Plan& plan() const { return plan_; }

 private:
  ClientSession(const v1::Plan& plan, const ModelConfig& config, WeightSource* weights);
  absl::Status Dial(const std::string& token, const GrpcOptions& grpc);
  absl::Status AwaitReady();
  absl::Status OnControl(Received received);
  absl::Status OnTensorChunk(uint32_t party, const v1::TensorChunk& chunk);
  absl::Status ServeTensor(uint32_t party, const std::string& name);
  absl::StatusOr<std::vector<StateEntry>> ListState(bool optimizer);
  absl::StatusOr<Tensor> LoadState(size_t i);
  absl::Status SendState(uint32_t party, bool optimizer, absl::Span<const NamedTensor> tensors);
  absl::Status SendAll(const v1::Packet& packet);
  // Takes control messages until `done` says so.
  absl::Status AwaitControl(const std::function<bool()>& done);
  absl::StatusOr<MicroBatchLoss> LossAt(const Probe& probe, double scale, uint32_t micro_batches,
                                        BatchSource* source);
  absl::Status DescendAll(const Descent& descent, StepResult* result);
  void CountStep(const StepResult& result, uint32_t micro_batches, int64_t start_us,
                 BatchSource* source);
  absl::StatusOr<double> TotalNorm(const std::vector<StageGroup::NamedSquare>& own);
  void Count(const StageRunner::EdgeReport& report);
  std::string WorkerName(uint32_t party) const;

  const v1::Plan plan_;
  const ModelConfig config_;
  WeightSource* const weights_;
  std::vector<uint32_t> workers_;  // parties
  Inbox inbox_;
  PeerLinks links_;
  RunMetrics metrics_;
  std::unique_ptr<StageGroup> group_;
  double quality_offset_db_ = 0.0;
  std::unique_ptr<StageRunner> runner_;

  // Answers of workers, filled by OnControl, emptied by whoever asked.
  std::map<uint32_t, v1::Packet> answers_;
  std::map<uint32_t, v1::StepDone> step_done_;
  std::map<uint32_t, std::vector<StageGroup::NamedSquare>> squares_;
  std::map<uint32_t, std::vector<StateEntry>> listed_;
  std::unique_ptr<StatePull> pull_;
  uint32_t extends_ = 0;

  std::map<std::tuple<uint32_t, Direction, Traffic>, EdgeUse> totals_;
  std::map<uint32_t, int64_t> peak_rss_;
  bool closed_ = false;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_SESSION_H_
