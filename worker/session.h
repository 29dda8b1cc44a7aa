// Session: one job at one worker. Gets its layers, then does what the client says until the client
// ends it or a link fails for good.
//
// Threads: the stage thread is the session's own; AddLink and Stop come from link and control
// threads.
#ifndef ISTHMUS_WORKER_SESSION_H_
#define ISTHMUS_WORKER_SESSION_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/thread.h"
#include "engine/stage.h"
#include "isthmus/v1/packet.pb.h"
#include "isthmus/v1/plan.pb.h"
#include "link/grpc_link.h"
#include "link/inbox.h"
#include "pipeline/peer_links.h"
#include "pipeline/run_metrics.h"
#include "pipeline/stage_runner.h"
#include "worker/weights.h"

namespace isthmus {

struct SessionOptions {
  Engine* engine = nullptr;
  WeightPlaces weights;
  // Codec state between runs; stores that are memory-mapped. "": no codec state is kept, and such
  // stores are temporary files.
  std::string state_dir;
  // The client of a job started this process: it may say where codec state is written. Of any other
  // client that would be a way to write files on this machine.
  bool started_by_client = false;
  int64_t threads = 0;
  std::string device = "cpu";
  GrpcOptions grpc;  // for the links this worker dials
  int64_t link_wait_us = 30'000'000;
  EdgeDumpOptions dump;
};

class Session {
 public:
  using Ended = std::function<void(const std::string& job_id,
                                   const absl::Status& status)>;  // on the stage thread, last

  // The plan was checked (CheckPlan).
  Session(v1::Plan plan, uint32_t party, std::string token, SessionOptions options, Ended ended);
  ~Session();  // stops it

  void Start();
  absl::Status AddLink(uint32_t from_party, std::unique_ptr<Link> link);
  void Stop(absl::Status reason);  // not OK; idempotent

  const v1::Plan& plan() const { return plan_; }
  const std::string& token() const { return token_; }
  uint32_t party() const { return party_; }
  int64_t codec_state_bytes() const { return codec_state_bytes_; }
  bool over() const { return over_; }

 private:
  absl::Status Run();
  absl::Status DialNextWorkers();
  absl::Status LoadStages();
  absl::Status Obey();
  absl::Status EndPass();
  absl::Status Do(const v1::Packet& packet, bool* end);
  absl::Status RunStep(const v1::StepBegin& begin);
  absl::Status Update(const v1::StepBegin& begin, double gradient_scale, v1::StepDone* done);
  absl::Status RunEval(const v1::EvalBegin& begin);
  absl::Status RunProbe(const v1::ProbeBegin& begin);
  absl::Status Descend(const v1::StepDescend& end);
  absl::Status TellEvalDone();
  void ReportStep(uint64_t step, v1::StepDone* done);
  absl::Status RunExtend(const v1::GenerateExtend& extend);
  absl::Status ListState(bool optimizer);
  absl::Status SendState(const std::string& wire_name);
  absl::Status TakeState(const v1::TensorChunk& chunk);
  absl::Status SetState();
  absl::Status SaveCodecs(const v1::SaveCodecs& save);
  void KeepNewestCodecs(const std::string& directory, const std::string& hash);
  absl::Status RestoreCodecs(const v1::RestoreCodecs& restore);
  absl::StatusOr<v1::Packet> NextPacket();
  absl::StatusOr<Tensor> FetchTensor(const std::string& name);
  absl::Status Tell(const v1::Packet& packet) { return links_.SendPacket(kClientParty, packet); }
  void TellFailure(const absl::Status& status);
  std::string CodecDirectory(const std::string& asked) const;  // "": codec state is not kept

  const v1::Plan plan_;
  const uint32_t party_;
  const std::string token_;
  const SessionOptions options_;
  const Ended ended_;
  Inbox inbox_;
  PeerLinks links_;
  RunMetrics metrics_;

  std::unique_ptr<WeightSource> weights_;
  std::unique_ptr<StageGroup> group_;
  std::unique_ptr<StageRunner> runner_;
  std::optional<uint64_t> uncommitted_step_;  // whose codecs wait for the next command
  std::vector<v1::Packet> deferred_;          // control that came while a pass waited for a frame
  std::unique_ptr<class TensorAssembly> incoming_;
  // Names that were set since the last StateSet, and the first error of setting them.
  std::set<std::string> set_trained_, set_optimizer_;
  absl::Status state_status_;
  std::vector<std::string> saved_codecs_;  // files, oldest first
  std::atomic<int64_t> codec_state_bytes_{0};
  std::atomic<bool> over_{false};
  Thread thread_;  // last: ends before the rest goes
};

}  // namespace isthmus

#endif  // ISTHMUS_WORKER_SESSION_H_
