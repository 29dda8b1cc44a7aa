// All parties of a plan in one process: a thread and a StageRunner each, joined by loopback links
// with a fault plan.
#ifndef ISTHMUS_TESTS_PIPELINE_PARTIES_H_
#define ISTHMUS_TESTS_PIPELINE_PARTIES_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "link/loopback.h"
#include "pipeline/peer_links.h"
#include "pipeline/stage_runner.h"

namespace isthmus {

struct PlanShape {
  int workers = 2;
  int64_t layers = 6;
  int64_t width = 8;
  bool labels_at_server = false;
  std::string schedule = "1f1b";
  std::string codec_forward = "none", codec_backward = "none";
  int64_t micro_batches = 4;
};
v1::Plan MakeTestPlan(const PlanShape& shape);

// Two samples of unequal length per micro-batch; ids and targets depend on the micro-batch alone.
class TestBatches : public BatchSource {
 public:
  const MicroBatch& Batch(uint32_t micro_batch) override;
  static int64_t PredictedOf(uint32_t micro_batches);

 private:
  std::map<uint32_t, MicroBatch> made_;
};

class Parties {
 public:
  // `faults` apply to the link between `a` and `b`.
  explicit Parties(v1::Plan plan, std::vector<Fault> faults = {}, uint32_t a = 0, uint32_t b = 1);
  ~Parties();

  struct Outcome {
    std::vector<absl::Status> status;    // by party
    std::vector<MicroBatchLoss> losses;  // as the client sees them
  };
  // One pass of every party on its own thread; who is through it answers the others until all are,
  // then comes the codecs' step boundary. The first failure fails the other inboxes. As sessions
  // do.
  Outcome Run(const PassSpec& spec);

  StageRunner* runner(uint32_t party) { return nodes_[party]->runner.get(); }
  StageGroup* group(uint32_t party) { return nodes_[party]->group.get(); }
  const v1::Plan& plan() const { return plan_; }

 private:
  struct Node {
    std::unique_ptr<Inbox> inbox;
    std::unique_ptr<StageGroup> group;
    std::unique_ptr<PeerLinks> links;
    std::unique_ptr<StageRunner> runner;
  };
  absl::Status RunOne(uint32_t party, const PassSpec& spec, BatchSource* source,
                      std::vector<MicroBatchLoss>* losses);

  v1::Plan plan_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::atomic<size_t> through_{0};  // parties, the pass that runs
};

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_PIPELINE_PARTIES_H_
