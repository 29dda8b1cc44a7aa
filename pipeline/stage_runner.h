// StageRunner: the corridor. Runs one party's part of a step: Take, Decode, Compute, Encode, Send.
// Client and worker run the same code; where labels, embedding and head are is the Plan's business.
//
// Threads: the stage thread of one session.
//
// A frame that does not follow a decoder's state (kDataLoss) is asked for again as a key frame:
// where the codec has state the sender keeps what it sent until its peer is known to have decoded
// it, at most until the step is committed or another pass begins, and answers in its pass and after
// it.
#ifndef ISTHMUS_PIPELINE_STAGE_RUNNER_H_
#define ISTHMUS_PIPELINE_STAGE_RUNNER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/stage.h"
#include "link/frame.h"
#include "link/inbox.h"
#include "pipeline/edge_codec.h"
#include "pipeline/edge_dump.h"
#include "pipeline/plan.h"

namespace isthmus {

// Where frames go. Send waits while the peer's window is full.
class Outlet {
 public:
  virtual ~Outlet() = default;
  virtual absl::Status Send(uint32_t party, Frame frame) = 0;
  virtual bool tls(uint32_t party) const = 0;
  // Of all links, since the last call (Link::TakeResent).
  virtual std::vector<ResentRow> TakeResent() = 0;
};

// Gives the client's first stage its micro-batches; with labels at the client the same object
// serves the head.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Valid until the pass ends.
  virtual const MicroBatch& Batch(uint32_t micro_batch) = 0;
};

struct PassTimes {
  double compute_s = 0.0, encode_s = 0.0, decode_s = 0.0, wait_s = 0.0;
  void Add(const PassTimes& other);
};

// Loss of one micro-batch, wherever it was computed.
struct MicroBatchLoss {
  double loss_sum = 0.0;
  int64_t predicted = 0;
  std::vector<double> sample_loss_sum;
  std::vector<int64_t> sample_predicted;
};

// One pass over some micro-batches: a training step's forward and backward, or an evaluation.
struct PassSpec {
  uint64_t step = 0;
  uint32_t micro_batches = 1;
  EdgeMode mode = EdgeMode::kTrain;
  double loss_scale = 1.0;
};

class StageRunner {
 public:
  // `group` holds this party's ranges in stage order. Edge codecs are made here; `state_dir` is for
  // their files.
  static absl::StatusOr<std::unique_ptr<StageRunner>> Make(const v1::Plan& plan, uint32_t party,
                                                           StageGroup* group, Inbox* inbox,
                                                           Outlet* outlet,
                                                           const std::string& state_dir);

  // Control frames that come while a pass waits go here, key frame requests apart; an error ends
  // the pass with it.
  using ControlHandler = std::function<absl::Status(Received)>;
  void set_control_handler(ControlHandler handler) { on_control_ = std::move(handler); }

  // Keeps what training sends from here on.
  void set_edge_dump(std::unique_ptr<EdgeDump> dump) { dump_ = std::move(dump); }

  // Sends a frame of the last pass again. Whoever waits for control frames between the pass and
  // EndPass gives such requests here; kDataLoss for a frame that is not kept: who asked would wait
  // for ever.
  absl::Status AnswerKeyFrameRequest(const FrameHeader& request);
  // Every party is through the pass: nobody will ask for its frames.
  void EndPass();

  // Runs the party's actions. `source` is null at workers. Where losses end up (the party with the
  // head, and the client) `losses` has one entry per micro-batch afterwards.
  absl::Status RunPass(const PassSpec& spec, BatchSource* source,
                       std::vector<MicroBatchLoss>* losses);

  // After the pass of a step in which another party holds a tensor of ours too: both add the
  // other's gradient.
  absl::Status ExchangeSharedGradient(uint64_t step);

  // From the next frame on; see Encoder::SetQualityOffset.
  void SetQualityOffset(double db);

  // Step boundary for every codec of this party; ends the pass, so every party is through it.
  absl::Status CommitCodecs(uint64_t step);

  // Generation: the client's first range gets ids; the party with the head returns logits, others
  // an empty tensor. `index` counts the calls since the last reset.
  absl::StatusOr<Tensor> Extend(uint32_t index, absl::Span<const int32_t> ids);
  void ResetCache();

  // Codec state of this party in one file under `directory`, named by the hash that goes in the
  // manifest. Restore of a missing or different file is kNotFound / kDataLoss and leaves everything
  // as new.
  absl::StatusOr<std::string> SaveCodecs(const std::string& directory) const;
  absl::Status RestoreCodecs(const std::string& directory, const std::string& hash);
  void
  ForgetDecoderState();  // deltas are refused until key frames come, which the peers are asked for
  void RequestKeyFrames();  // both directions start again: the peers do the same

  PassTimes TakeTimes();  // since the last call
  struct EdgeReport {
    uint32_t edge = 0;
    Direction direction = Direction::kForward;
    Traffic traffic = Traffic::kTraining;
    EdgeUse use;
  };
  // What this party sent since the last call. A frame that is sent again later, for a peer that
  // did not get it, is in a later report.
  std::vector<EdgeReport> TakeUse();
  int64_t codec_state_bytes() const;

 private:
  StageRunner(const v1::Plan& plan, uint32_t party, StageGroup* group, Inbox* inbox,
              Outlet* outlet);

  // One edge at this party: it sends one direction and receives the other.
  struct EdgeEnd {
    std::unique_ptr<EdgeSender> sender;
    std::unique_ptr<EdgeReceiver> receiver;
    uint32_t peer = 0;
    std::map<uint32_t, Tensor> kept;  // by micro-batch, while a key frame may be asked for
  };
  struct Sample;

  absl::Status DoNext(PartyProgress* progress);
  static Inbox::Slot SlotOf(const Action& action);
  absl::Status Forward(uint32_t stage, uint32_t micro_batch, Frame frame);
  absl::Status Backward(uint32_t stage, uint32_t micro_batch, Frame frame);
  absl::StatusOr<Tensor> DecodeOn(uint32_t edge, Frame frame, MicroBatch* mb);
  void KeepRowIds(uint32_t micro_batch, absl::Span<const uint32_t> ids);
  absl::Status SendOn(uint32_t edge, const MicroBatch& mb, Tensor tensor);
  EdgeHints HintsOf(const EdgeSender& sender, const MicroBatch& mb) const;
  absl::StatusOr<Frame> Take(FrameKind kind, uint32_t edge, uint32_t micro_batch);
  absl::StatusOr<std::optional<size_t>> TakeAny(const std::vector<Inbox::Slot>& slots, bool wait,
                                                Frame* frame);
  static void Forget(uint32_t micro_batch, uint32_t in_flight, EdgeEnd* end);
  absl::Status AddTargets(uint32_t micro_batch, MicroBatch* mb);
  absl::Status ReportLoss(uint32_t micro_batch, MicroBatchLoss loss);
  uint32_t LossesToCome() const;
  absl::Status TakeLoss();
  absl::Status KeepLoss(const Frame& frame);
  absl::Status SendTargets(const MicroBatch& mb);
  MicroBatch& BatchOf(uint32_t micro_batch);
  Stage* StageOf(uint32_t stage);
  uint64_t CutId(uint32_t edge) const;
  bool labels_travel() const { return LossParty(plan_) != kClientParty; }

  const v1::Plan& plan_;
  const uint32_t party_;
  StageGroup* const group_;
  Inbox* const inbox_;
  Outlet* const outlet_;
  std::map<uint32_t, size_t> slot_of_stage_;
  std::map<uint32_t, EdgeEnd> edges_;

  ControlHandler on_control_;
  std::unique_ptr<EdgeDump> dump_;  // null: none is kept

  PassSpec pass_;
  std::vector<uint32_t> max_in_flight_;  // of the pass's schedule
  BatchSource* source_ = nullptr;
  std::map<uint32_t, MicroBatch> batches_;  // of this pass
  // Of this pass, by micro-batch: the row ids as the edge below knows them (its numbers, never the
  // tokens), for the edge above.
  std::map<uint32_t, EdgeHints> hints_;
  std::vector<MicroBatchLoss>* losses_ = nullptr;
  uint32_t losses_returned_ = 0;
  PassTimes times_;
  EdgeUse shared_use_;  // of the tied tensor's gradient: reported as one edge more
};

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_STAGE_RUNNER_H_
