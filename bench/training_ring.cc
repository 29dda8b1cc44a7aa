#include "bench/training_ring.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/adaptive_quality.h"
#include "client/batches.h"
#include "client/learning_rate.h"
#include "client/plan_request.h"
#include "link/loopback.h"
#include "model/dataset.h"
#include "model/weights.h"
#include "pipeline/partitioner.h"
#include "pipeline/peer_links.h"
#include "pipeline/plan.h"
#include "pipeline/stage_runner.h"

namespace isthmus::bench {
namespace {

constexpr uint32_t kParties = 2;

struct JobData {
  std::unique_ptr<ModelDirectory> model;
  std::vector<Window> train, eval;
  DataFacts facts;
  int64_t windows_per_step = 0;
};

absl::StatusOr<std::vector<Window>> ReadWindows(const std::string& path, const Job& job,
                                                int64_t vocabulary) {
  DatasetOptions options;
  options.sequence_length = job.data.sequence_length;
  options.pack = job.data.pack;
  options.append_eos = job.data.append_eos;
  options.vocab_size = vocabulary;
  ISTHMUS_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(path, nullptr, options));
  return CutWindows(documents, options);
}

absl::StatusOr<JobData> OpenJob(const Job& job) {
  JobData data;
  ISTHMUS_ASSIGN_OR_RETURN(data.model, ModelDirectory::Open(job.model));
  const int64_t vocabulary = data.model->config().vocab_size;
  ISTHMUS_ASSIGN_OR_RETURN(data.train, ReadWindows(job.data.train, job, vocabulary));
  ISTHMUS_ASSIGN_OR_RETURN(data.eval, ReadWindows(job.data.eval, job, vocabulary));
  data.windows_per_step = job.train.micro_batch_size * job.train.micro_batches;
  const auto windows = static_cast<int64_t>(data.train.size());
  const int64_t steps_per_epoch = (windows + data.windows_per_step - 1) / data.windows_per_step;
  data.facts.num_windows = windows;
  data.facts.total_steps =
      job.train.steps.has_value() ? *job.train.steps : *job.train.epochs * steps_per_epoch;
  data.facts.samples_repeat = data.facts.total_steps > steps_per_epoch;
  for (const auto* part : {&data.train, &data.eval})
    for (const Window& window : *part)
      data.facts.max_window_tokens =
          std::max(data.facts.max_window_tokens, static_cast<int64_t>(window.inputs.size()));
  return data;
}

absl::StatusOr<v1::Plan> PlanOf(const Job& job, JobData* data, double flops) {
  ClientHost host;
  host.speed = {flops, flops};
  host.embedded = true;
  const ChosenCodec codec = {job.codec.forward, job.codec.backward, ""};
  ISTHMUS_ASSIGN_OR_RETURN(
      const v1::PlanRequest request,
      MakePlanRequest(job, data->model->config(), data->model.get(), data->facts, codec, host));
  return MakePlan(request, {v1::WorkerInfo()}, "bench");
}

struct Sent {
  int64_t epoch = 0;
  StageRunner::EdgeReport report;
};

class Ring {
 public:
  Ring(Engine* engine, const Job& job, JobData data, v1::Plan plan, bool links_behind)
      : engine_(engine),
        job_(job),
        data_(std::move(data)),
        plan_(std::move(plan)),
        links_behind_(links_behind) {}

  absl::StatusOr<nlohmann::json> Run() {
    ISTHMUS_RETURN_IF_ERROR(Join());
    std::array<absl::Status, kParties> status;
    const auto run = [&](uint32_t party) {
      status[party] = RunParty(party);
      if (!status[party].ok())
        for (Party& other : parties_) other.inbox->Fail(status[party]);
    };
    std::thread worker(run, 1);
    run(kClientParty);
    worker.join();
    for (const absl::Status& one : status) ISTHMUS_RETURN_IF_ERROR(one);
    return Result();
  }

 private:
  struct Party {
    std::unique_ptr<Inbox> inbox;
    std::unique_ptr<StageGroup> group;
    std::unique_ptr<PeerLinks> links;
    std::unique_ptr<StageRunner> runner;
    int64_t passes = 0;
    std::vector<Sent> sent;
  };

  absl::Status Join() {
    Inbox::Bounds bounds;
    bounds.edges = static_cast<uint32_t>(plan_.edges_size());
    bounds.micro_batches = 1u << 16;
    for (Party& party : parties_) {
      party.inbox = std::make_unique<Inbox>(bounds);
      party.links = std::make_unique<PeerLinks>(party.inbox.get());
    }
    LoopbackPair pair = MakeLoopback({}, {});
    ISTHMUS_RETURN_IF_ERROR(parties_[0].links->Add(1, std::move(pair.first)));
    return parties_[1].links->Add(0, std::move(pair.second));
  }

  absl::Status RunParty(uint32_t party) {
    Party& self = parties_[party];
    TrainSpec spec = TrainSpecFromProto(plan_.train());
    spec.threads = 1;
    // Weights come from the model's own mapping, which is for one thread.
    ISTHMUS_ASSIGN_OR_RETURN(const auto weights, ModelDirectory::Open(job_.model));
    ISTHMUS_ASSIGN_OR_RETURN(
        self.group, engine_->MakeStages(weights->config(), spec, RangesOfParty(plan_, party),
                                        weights.get(), false));
    ISTHMUS_ASSIGN_OR_RETURN(
        self.runner,
        StageRunner::Make(plan_, party, self.group.get(), self.inbox.get(), self.links.get(), ""));
    self.runner->set_control_handler([](Received) { return absl::OkStatus(); });
    ISTHMUS_RETURN_IF_ERROR(Train(party));
    for (const bool uncompressed : {false, true})
      ISTHMUS_RETURN_IF_ERROR(Evaluate(party, uncompressed));
    return absl::OkStatus();
  }

  absl::Status Train(uint32_t party) {
    Party& self = parties_[party];
    StepWindows order(data_.facts.num_windows, data_.windows_per_step, job_.data.shuffle,
                      job_.train.seed);
    AdaptiveQuality quality;
    for (int64_t step = 1; step <= data_.facts.total_steps; ++step) {
      WindowBatches batches(data_.train, order.Of(step), job_.train.micro_batch_size);
      if (links_behind_) self.runner->SetQualityOffset(quality.offset_db());
      const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, batches.predicted()));
      ISTHMUS_ASSIGN_OR_RETURN(
          const double loss,
          Pass(party,
               {static_cast<uint64_t>(step), batches.micro_batches(), EdgeMode::kTrain, scale},
               &batches));
      ISTHMUS_RETURN_IF_ERROR(
          self.group->Step(LearningRate(job_.train, step, data_.facts.total_steps), 1.0));
      ISTHMUS_RETURN_IF_ERROR(self.runner->CommitCodecs(static_cast<uint64_t>(step)));
      if (party == kClientParty) curve_.push_back(loss);
      for (const auto& report : self.runner->TakeUse())
        self.sent.push_back({(step - 1) / order.steps_per_epoch(), report});
      quality.Observe(2.0, 1.0);
    }
    return absl::OkStatus();
  }

  absl::Status Evaluate(uint32_t party, bool uncompressed) {
    std::vector<int64_t> all;
    for (size_t i = 0; i < data_.eval.size(); ++i) all.push_back(static_cast<int64_t>(i));
    WindowBatches batches(data_.eval, all, job_.train.micro_batch_size);
    const EdgeMode mode = uncompressed ? EdgeMode::kUncompressed : EdgeMode::kEval;
    const PassSpec spec = {static_cast<uint64_t>(data_.facts.total_steps), batches.micro_batches(),
                           mode, 1.0};
    ISTHMUS_ASSIGN_OR_RETURN(const double loss, Pass(party, spec, &batches));
    parties_[party].runner->EndPass();
    if (party == kClientParty) (uncompressed ? loss_ : loss_through_cut_) = loss;
    return absl::OkStatus();
  }

  // Mean loss of the pass at the client, 0 elsewhere. Returns when every party is through.
  absl::StatusOr<double> Pass(uint32_t party, const PassSpec& spec, BatchSource* batches) {
    Party& self = parties_[party];
    const bool client = party == kClientParty;
    std::vector<MicroBatchLoss> losses;
    ISTHMUS_RETURN_IF_ERROR(
        self.runner->RunPass(spec, client ? batches : nullptr, client ? &losses : nullptr));
    if (++through_ == static_cast<int64_t>(kParties) * ++self.passes) {
      for (Party& other : parties_) {
        Frame all_through;
        all_through.header.kind = FrameKind::kControl;
        ISTHMUS_RETURN_IF_ERROR(other.inbox->Put(std::move(all_through)));
      }
    }
    for (;;) {
      ISTHMUS_ASSIGN_OR_RETURN(const Frame frame, self.inbox->TakeControl(Inbox::kForever));
      if (frame.header.kind == FrameKind::kControl) break;
      ISTHMUS_RETURN_IF_ERROR(self.runner->AnswerKeyFrameRequest(frame.header));
    }
    double sum = 0.0;
    int64_t predicted = 0;
    for (const MicroBatchLoss& loss : losses) {
      sum += loss.loss_sum;
      predicted += loss.predicted;
    }
    return predicted > 0 ? sum / static_cast<double>(predicted) : 0.0;
  }

  nlohmann::json Result() const {
    std::map<std::pair<uint32_t, Direction>, EdgeUse> edges;
    EdgeUse all, first_epoch, forward, backward;
    for (const Party& party : parties_) {
      for (const auto& [epoch, report] : party.sent) {
        if (report.traffic != Traffic::kTraining) continue;
        edges[{report.edge, report.direction}].Add(report.use);
        all.Add(report.use);
        (report.direction == Direction::kForward ? forward : backward).Add(report.use);
        if (epoch == 0) first_epoch.Add(report.use);
      }
    }
    const auto bits = [](const EdgeUse& use) {
      return BitsPerElement(use.wire_bytes(), use.elements);
    };
    nlohmann::json rows = nlohmann::json::array();
    for (const auto& [key, use] : edges)
      rows.push_back({{"edge", key.first},
                      {"direction", std::string(Name(key.second))},
                      {"elements", use.elements},
                      {"wire_bytes", use.wire_bytes()},
                      {"side_bytes", use.side_bytes},
                      {"header_bytes", use.header_bytes}});
    nlohmann::json curve = nlohmann::json::array();
    for (const double loss : curve_) curve.push_back(std::round(loss * 1e4) / 1e4);
    return {{"loss", loss_},
            {"loss_through_cut", loss_through_cut_},
            {"curve", curve},
            {"bits_per_element", bits(all)},
            {"bits_forward", bits(forward)},
            {"bits_backward", bits(backward)},
            {"bits_first_epoch", bits(first_epoch)},
            {"wire_bytes", all.wire_bytes()},
            {"elements", all.elements},
            {"steps", data_.facts.total_steps},
            {"micro_batches", job_.train.micro_batches},
            {"edges", rows}};
  }

  Engine* const engine_;
  const Job& job_;
  const JobData data_;
  const v1::Plan plan_;
  const bool links_behind_;
  std::array<Party, kParties> parties_;
  std::atomic<int64_t> through_{0};  // passes that parties are through, all together

  std::vector<double> curve_;
  double loss_ = 0.0, loss_through_cut_ = 0.0;
};

}  // namespace

absl::StatusOr<v1::Plan> PlanOfJob(const Job& job, double flops) {
  ISTHMUS_ASSIGN_OR_RETURN(JobData data, OpenJob(job));
  return PlanOf(job, &data, flops);
}

absl::StatusOr<nlohmann::json> TrainInRing(Engine* engine, const Job& job, bool links_behind) {
  ISTHMUS_ASSIGN_OR_RETURN(JobData data, OpenJob(job));
  ISTHMUS_ASSIGN_OR_RETURN(v1::Plan plan, PlanOf(job, &data, 1e10));
  return Ring(engine, job, std::move(data), std::move(plan), links_behind).Run();
}

}  // namespace isthmus::bench
