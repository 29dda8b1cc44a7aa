#include "tests/pipeline/parties.h"

#include <thread>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "tests/pipeline/fake_engine.h"

namespace isthmus {

v1::Plan MakeTestPlan(const PlanShape& shape) {
  v1::Plan plan;
  plan.set_job_id("job");
  plan.set_generation(1);
  plan.set_schedule(shape.schedule);
  plan.set_micro_batches(shape.micro_batches);
  plan.set_labels_at_server(shape.labels_at_server);
  plan.set_seed(7);
  plan.set_num_samples(64);
  plan.set_max_sample_tokens(8);
  plan.add_parties()->set_name("client");
  const auto add = [&plan](uint32_t party, int64_t first, int64_t last) {
    v1::StageSpec* stage = plan.add_stages();
    stage->set_party(party);
    stage->set_first_layer(first);
    stage->set_last_layer(last);
  };
  add(0, 0, 1);
  const int64_t end = shape.labels_at_server ? shape.layers : shape.layers - 1;
  for (int w = 1; w <= shape.workers; ++w) {
    plan.add_parties()->set_name("w");
    const int64_t first = plan.stages(plan.stages_size() - 1).last_layer();
    add(static_cast<uint32_t>(w), first, w == shape.workers ? end : first + 1);
  }
  if (!shape.labels_at_server) add(0, end, shape.layers);
  plan.mutable_stages(0)->set_embedding(true);
  plan.mutable_stages(plan.stages_size() - 1)->set_head(true);
  for (int e = 0; e + 1 < plan.stages_size(); ++e) {
    v1::EdgeSpec* edge = plan.add_edges();
    edge->set_index(static_cast<uint32_t>(e));
    edge->set_width(shape.width);
    edge->set_codec_forward(shape.codec_forward);
    edge->set_codec_backward(shape.codec_backward);
  }
  return plan;
}

const MicroBatch& TestBatches::Batch(uint32_t micro_batch) {
  const auto [it, fresh] = made_.try_emplace(micro_batch);
  MicroBatch& mb = it->second;
  if (!fresh) return mb;
  mb.samples = {2 * micro_batch, 2 * micro_batch + 1};
  mb.lengths = {5, 3};
  for (int32_t t = 0; t < 8; ++t) {
    mb.ids.push_back(static_cast<int32_t>(micro_batch) * 8 + t);
    mb.targets.push_back(t == 2 ? -100 : t);
  }
  return mb;
}

int64_t TestBatches::PredictedOf(uint32_t micro_batches) { return 7 * micro_batches; }

Parties::Parties(v1::Plan plan, std::vector<Fault> faults, uint32_t a, uint32_t b)
    : plan_(std::move(plan)) {
  const ModelConfig config =
      FakeConfig(plan_.stages(plan_.stages_size() - 1).last_layer(), plan_.edges(0).width());
  Inbox::Bounds bounds;
  bounds.edges = static_cast<uint32_t>(plan_.edges_size());
  bounds.micro_batches = 4096;
  const uint32_t parties = static_cast<uint32_t>(plan_.parties_size());
  for (uint32_t p = 0; p < parties; ++p) {
    auto node = std::make_unique<Node>();
    node->inbox = std::make_unique<Inbox>(bounds);
    node->links = std::make_unique<PeerLinks>(node->inbox.get());
    node->group = MakeFakeStages(config, RangesOfParty(plan_, p));
    nodes_.push_back(std::move(node));
  }
  for (uint32_t p = 0; p < parties; ++p) {
    for (uint32_t q = p + 1; q < parties; ++q) {
      LoopbackOptions options;
      options.link.reconnect_us = 2'000'000;
      LoopbackPair pair =
          MakeLoopback(options, options, p == a && q == b ? faults : std::vector<Fault>());
      ISTHMUS_CHECK(nodes_[p]->links->Add(q, std::move(pair.first)).ok());
      ISTHMUS_CHECK(nodes_[q]->links->Add(p, std::move(pair.second)).ok());
    }
  }
  for (uint32_t p = 0; p < parties; ++p) {
    Node& node = *nodes_[p];
    auto runner =
        StageRunner::Make(plan_, p, node.group.get(), node.inbox.get(), node.links.get(), "");
    ISTHMUS_CHECK(runner.ok());
    node.runner = *std::move(runner);
    node.runner->set_control_handler([](Received) { return absl::OkStatus(); });
  }
}

Parties::~Parties() {
  for (auto& node : nodes_) node->inbox->Fail(absl::CancelledError("the test is over"));
}

absl::Status Parties::RunOne(uint32_t party, const PassSpec& spec, BatchSource* source,
                             std::vector<MicroBatchLoss>* losses) {
  Node& node = *nodes_[party];
  ISTHMUS_RETURN_IF_ERROR(node.runner->RunPass(spec, source, losses));
  if (++through_ == nodes_.size()) {
    for (auto& other : nodes_) {
      Frame all_through;
      all_through.header.kind = FrameKind::kControl;
      ISTHMUS_RETURN_IF_ERROR(other->inbox->Put(std::move(all_through)));
    }
  }
  for (;;) {
    ISTHMUS_ASSIGN_OR_RETURN(const Frame frame, node.inbox->TakeControl(Inbox::kForever));
    if (frame.header.kind == FrameKind::kControl) break;
    ISTHMUS_RETURN_IF_ERROR(node.runner->AnswerKeyFrameRequest(frame.header));
  }
  if (spec.mode == EdgeMode::kTrain) return node.runner->CommitCodecs(spec.step);
  node.runner->EndPass();
  return absl::OkStatus();
}

Parties::Outcome Parties::Run(const PassSpec& spec) {
  Outcome outcome;
  outcome.status.resize(nodes_.size());
  through_ = 0;
  TestBatches batches;
  std::vector<std::thread> threads;
  for (uint32_t p = 0; p < nodes_.size(); ++p) {
    threads.emplace_back([&, p] {
      const bool client = p == kClientParty;
      const absl::Status status =
          RunOne(p, spec, client ? &batches : nullptr, client ? &outcome.losses : nullptr);
      if (!status.ok())
        for (auto& node : nodes_) node->inbox->Fail(status);
      outcome.status[p] = status;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcome;
}

}  // namespace isthmus
