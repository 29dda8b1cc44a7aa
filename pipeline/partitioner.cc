#include "pipeline/partitioner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/status.h"
#include "compression/codec.h"
#include "compression/frame_estimate.h"
#include "link/frame.h"
#include "model/config.h"
#include "model/cost.h"
#include "pipeline/plan.h"
#include "pipeline/simulator.h"

namespace isthmus {
namespace {

// Speed of a device that did not say: a slow core.
constexpr double kUnknownFlops = 5e9;
// Of a block: far above rounding, far below what could matter.
constexpr double kShareSlack = 1e-9;
// Process, libraries and buffers beside what a plan counts.
constexpr int64_t kProcessBytes = 250'000'000;

// A request with everything it implies worked out.
struct Problem {
  const v1::PlanRequest& request;
  ModelConfig config;
  CostAssumptions assumptions;
  LayerCost block, embedding, head;
  int64_t head_layers = 0, tail_layers = 0, middle = 0;
  int64_t tokens = 0;                             // of a full micro-batch
  int64_t forward_bytes = 0, backward_bytes = 0;  // of a frame
  int64_t passes = 1;                             // of a step
};

// Of all visits of samples in the run, those that are the sample's first.
double FirstVisits(const v1::PlanRequest& request) {
  const double visits = static_cast<double>(request.total_steps()) *
                        static_cast<double>(request.micro_batches() * request.micro_batch_size());
  if (visits <= 0.0 || request.num_samples() <= 0) return 1.0;
  return std::min(1.0, static_cast<double>(request.num_samples()) / visits);
}

// Bytes of a full micro-batch's frame, mean over the run.
absl::StatusOr<int64_t> FrameBytes(const Problem& p, const std::string& spec, Direction direction) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto codec, Codec::Parse(spec));
  EdgeShape shape;
  shape.width = p.config.hidden_size;
  shape.direction = direction;
  shape.max_sample_tokens = p.tokens / p.request.micro_batch_size();
  shape.total_steps = p.request.total_steps();
  ISTHMUS_ASSIGN_OR_RETURN(const FrameEstimate estimate, EstimateFrame(*codec, shape));
  const double first = FirstVisits(p.request);
  const double bits = first * estimate.first_bits + (1 - first) * estimate.later_bits;
  const auto payload =
      static_cast<int64_t>(static_cast<double>(p.tokens * p.config.hidden_size) * bits / 8.0);
  return payload + WireHeaderBytes(payload, false);
}

absl::StatusOr<Problem> Understand(const v1::PlanRequest& request) {
  Problem p{request, {}, {}, {}, {}, {}};
  ISTHMUS_ASSIGN_OR_RETURN(p.config, ParseModelConfig(request.model().config_json()));
  p.head_layers = request.head_layers();
  p.tail_layers = request.labels_at_server() ? 0 : request.tail_layers();
  if (p.head_layers < 0 || p.tail_layers < 0 ||
      p.head_layers + p.tail_layers >= p.config.num_layers)
    return InvalidArgument(
        "split.head_layers: expected head_layers + tail_layers below the model's ",
        p.config.num_layers, " layers, got ", p.head_layers, " + ", p.tail_layers);
  if (request.micro_batch_size() < 1 || request.micro_batches() < 1 ||
      request.sequence_length() < 1)
    return InvalidArgument(
        "train.micro_batch_size: expected a batch of at least one token, got none");
  p.middle = p.config.num_layers - p.head_layers - p.tail_layers;
  const TrainSpec train = TrainSpecFromProto(request.train());
  p.assumptions.train = !train.frozen && train.probes == 0;
  p.passes = train.probes > 0 ? 2 * train.probes : 1;
  p.assumptions.full = train.full;
  p.assumptions.lora = train.lora;
  p.assumptions.sequence_length = request.sequence_length();
  p.assumptions.recompute = train.recompute;
  p.assumptions.bf16 = train.bf16;
  p.assumptions.optimizer_slots =
      train.optimizer.name == "adamw" ? 2 : (train.optimizer.momentum > 0 ? 1 : 0);
  ISTHMUS_ASSIGN_OR_RETURN(p.block, BlockCost(p.config, p.assumptions));
  p.embedding = EmbeddingCost(p.config, p.assumptions);
  p.head = HeadCost(p.config, p.assumptions);
  p.tokens = request.micro_batch_size() * std::max<int64_t>(1, request.max_sample_tokens() > 0
                                                                   ? request.max_sample_tokens()
                                                                   : request.sequence_length());
  ISTHMUS_ASSIGN_OR_RETURN(p.forward_bytes,
                           FrameBytes(p, request.codec_forward(), Direction::kForward));
  ISTHMUS_ASSIGN_OR_RETURN(p.backward_bytes,
                           FrameBytes(p, request.codec_backward(), Direction::kBackward));
  return p;
}

LayerCost CostOf(const Problem& p, const v1::StageSpec& stage) {
  LayerCost total;
  const auto add = [&total](const LayerCost& c, double times) {
    total.forward_flops += times * c.forward_flops;
    total.backward_flops += times * c.backward_flops;
    total.weight_bytes += static_cast<int64_t>(times) * c.weight_bytes;
    total.trained_bytes += static_cast<int64_t>(times) * c.trained_bytes;
    total.activation_bytes += static_cast<int64_t>(times) * c.activation_bytes;
    total.workspace_bytes = std::max(total.workspace_bytes, c.workspace_bytes);
  };
  add(p.block, static_cast<double>(stage.last_layer() - stage.first_layer()));
  if (stage.embedding()) add(p.embedding, 1.0);
  if (stage.head()) add(p.head, 1.0);
  return total;
}

double FlopsOf(const Problem& p, absl::Span<const v1::WorkerInfo> workers, uint32_t party) {
  // The processes of an embedded cluster share one machine: measured one by one they would differ
  // by chance, and with them the cut and the run.
  const bool own = party == kClientParty || p.request.embedded();
  const double flops = own ? p.request.client_flops() : workers[party - 1].flops();
  return flops > 0 ? flops : kUnknownFlops;
}

// Time of an operation in the backward pass over that in the forward pass, as the client measured:
// it differs by kernels, not by machine.
double BackwardSlowness(const v1::PlanRequest& request) {
  if (request.client_flops() <= 0 || request.client_backward_flops() <= 0) return 1.0;
  return request.client_flops() / request.client_backward_flops();
}

// Blocks per worker in proportion to speed: the k-th boundary is where the sum of speeds has
// reached its share. Each gets one.
std::vector<int64_t> ShareBlocks(const Problem& p, absl::Span<const v1::WorkerInfo> workers) {
  const int64_t n = static_cast<int64_t>(workers.size());
  double all = 0.0, sum = 0.0;
  for (uint32_t w = 1; w <= workers.size(); ++w) all += FlopsOf(p, workers, w);
  std::vector<int64_t> blocks;
  int64_t given = 0;
  for (int64_t w = 0; w < n; ++w) {
    sum += FlopsOf(p, workers, static_cast<uint32_t>(w) + 1);
    // 3 f / 2 f is 1.5 or the double below it, as f falls: without the slack, chance would cut.
    int64_t boundary = static_cast<int64_t>(
        std::floor(static_cast<double>(p.middle) * sum / all + 0.5 + kShareSlack));
    boundary = std::clamp(boundary, given + 1, p.middle - (n - 1 - w));
    blocks.push_back(boundary - given);
    given = boundary;
  }
  return blocks;
}

v1::StageSpec StageOf(uint32_t party, int64_t first, int64_t last, bool embedding, bool head) {
  v1::StageSpec stage;
  stage.set_party(party);
  stage.set_first_layer(first);
  stage.set_last_layer(last);
  stage.set_embedding(embedding);
  stage.set_head(head);
  return stage;
}

void PlaceStages(const Problem& p, absl::Span<const v1::WorkerInfo> workers, v1::Plan* plan) {
  *plan->add_stages() = StageOf(kClientParty, 0, p.head_layers, true, false);
  int64_t layer = p.head_layers;
  const std::vector<int64_t> blocks = ShareBlocks(p, workers);
  for (uint32_t w = 1; w <= workers.size(); ++w) {
    const bool loss_here = p.request.labels_at_server() && w == workers.size();
    *plan->add_stages() = StageOf(w, layer, layer + blocks[w - 1], false, loss_here);
    layer += blocks[w - 1];
  }
  if (!p.request.labels_at_server())
    *plan->add_stages() = StageOf(kClientParty, layer, p.config.num_layers, false, true);
}

absl::Status PlaceEdges(const Problem& p, v1::Plan* plan) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto forward, Codec::Parse(p.request.codec_forward()));
  ISTHMUS_ASSIGN_OR_RETURN(const auto backward, Codec::Parse(p.request.codec_backward()));
  for (int e = 0; e + 1 < plan->stages_size(); ++e) {
    v1::EdgeSpec* edge = plan->add_edges();
    edge->set_index(static_cast<uint32_t>(e));
    edge->set_from_stage(static_cast<uint32_t>(e));
    edge->set_to_stage(static_cast<uint32_t>(e + 1));
    edge->set_width(p.config.hidden_size);
    edge->set_codec_forward(p.request.codec_forward());
    edge->set_codec_backward(p.request.codec_backward());
    edge->set_predicted_forward_bytes(p.forward_bytes);
    edge->set_predicted_backward_bytes(p.assumptions.train ? p.backward_bytes : 0);
    const auto f = forward->StateSizeFor(
        EdgeShapeOf(*plan, static_cast<uint32_t>(e), Direction::kForward, ""));
    const auto b = backward->StateSizeFor(
        EdgeShapeOf(*plan, static_cast<uint32_t>(e), Direction::kBackward, ""));
    edge->set_store_bytes(f.ram_bytes + b.ram_bytes);
  }
  return absl::OkStatus();
}

// Step time of the plan as it stands; fills the stages' predictions.
absl::StatusOr<double> Predict(const Problem& p, absl::Span<const v1::WorkerInfo> workers,
                               v1::Plan* plan) {
  std::vector<StageCost> stages;
  for (v1::StageSpec& stage : *plan->mutable_stages()) {
    const LayerCost cost = CostOf(p, stage);
    const double per_flop = static_cast<double>(p.tokens) / FlopsOf(p, workers, stage.party());
    stage.set_predicted_forward_s(cost.forward_flops * per_flop);
    stage.set_predicted_backward_s(
        p.assumptions.train ? cost.backward_flops * per_flop * BackwardSlowness(p.request) : 0.0);
    stages.push_back({stage.predicted_forward_s(), stage.predicted_backward_s()});
  }
  std::vector<EdgeCost> edges;
  for (const v1::EdgeSpec& edge : plan->edges())
    edges.push_back({edge.predicted_forward_bytes(), edge.predicted_backward_bytes()});
  std::vector<HostLink> links;
  for (const v1::PartySpec& party : plan->parties())
    links.push_back({party.predicted_rate_mbps(), p.request.link_delay_ms() * 1e-3});
  ISTHMUS_ASSIGN_OR_RETURN(
      const Schedule schedule,
      ScheduleOf(*plan, static_cast<uint32_t>(p.request.micro_batches()), !p.assumptions.train));
  const double update_s = 2 * p.request.link_delay_ms() * 1e-3;
  const double pass_s =
      SimulateStep(schedule, stages, edges, links, update_s, p.request.shared_cores()).step_s;
  return static_cast<double>(p.passes) * pass_s;
}

absl::Status PredictMemory(const Problem& p, absl::Span<const v1::WorkerInfo> workers,
                           v1::Plan* plan) {
  ISTHMUS_ASSIGN_OR_RETURN(
      const Schedule schedule,
      ScheduleOf(*plan, static_cast<uint32_t>(p.request.micro_batches()), !p.assumptions.train));
  for (int s = 0; s < plan->stages_size(); ++s) {
    const v1::StageSpec& stage = plan->stages(s);
    const LayerCost cost = CostOf(p, stage);
    v1::PartySpec* party = plan->mutable_parties(static_cast<int>(stage.party()));
    const int64_t in_flight =
        p.assumptions.train ? schedule.max_in_flight[static_cast<size_t>(s)] : 0;
    int64_t bytes = cost.weight_bytes + cost.trained_bytes +
                    p.tokens * (cost.activation_bytes * in_flight + cost.workspace_bytes);
    for (const int e : {s - 1, s})
      if (e >= 0 && e < plan->edges_size()) bytes += plan->edges(e).store_bytes();
    party->set_predicted_memory_bytes(party->predicted_memory_bytes() + bytes);
  }
  // Embedding and head of one party are one tensor when tied.
  if (p.config.tied_embeddings && LossParty(*plan) == kClientParty) {
    v1::PartySpec* client = plan->mutable_parties(kClientParty);
    client->set_predicted_memory_bytes(client->predicted_memory_bytes() - p.embedding.weight_bytes);
  }
  for (int party = 0; party < plan->parties_size(); ++party) {
    v1::PartySpec* spec = plan->mutable_parties(party);
    spec->set_predicted_memory_bytes(spec->predicted_memory_bytes() + kProcessBytes);
    const int64_t limit =
        party == 0 ? 0 : workers[static_cast<size_t>(party) - 1].memory_limit_bytes();
    if (limit > 0 && spec->predicted_memory_bytes() > limit)
      return InvalidArgument("memory: expected at most ", limit, " bytes at worker ", spec->name(),
                             ", got a share of ", spec->predicted_memory_bytes(),
                             " (more workers or a smaller micro_batch_size help)");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Plan> PlanFor(const Problem& p, absl::Span<const v1::WorkerInfo> workers,
                                 const std::string& job_id) {
  const v1::PlanRequest& request = p.request;
  v1::Plan plan;
  plan.set_job_id(job_id);
  plan.set_generation(1);
  *plan.mutable_model() = request.model();
  *plan.mutable_train() = request.train();
  plan.set_schedule(request.schedule());
  plan.set_micro_batch_size(request.micro_batch_size());
  plan.set_micro_batches(request.micro_batches());
  plan.set_sequence_length(request.sequence_length());
  plan.set_labels_at_server(request.labels_at_server());
  plan.set_seed(request.seed());
  plan.set_num_samples(request.num_samples());
  plan.set_max_sample_tokens(request.max_sample_tokens());
  plan.set_total_steps(request.total_steps());
  plan.set_shared_embedding(request.labels_at_server() && request.train().full() &&
                            p.config.tied_embeddings);
  plan.set_embedded(request.embedded());
  plan.set_link_rate_mbps(request.link_rate_mbps());
  plan.set_link_delay_ms(request.link_delay_ms());
  plan.set_wire_version(kWireVersion);
  v1::PartySpec* client = plan.add_parties();
  client->set_name("client");
  client->set_predicted_rate_mbps(request.link_rate_mbps() > 0 ? request.link_rate_mbps()
                                                               : request.client_rate_mbps());
  for (const v1::WorkerInfo& worker : workers) {
    v1::PartySpec* party = plan.add_parties();
    party->set_name(worker.name());
    party->set_address(worker.address());
    party->set_predicted_rate_mbps(request.link_rate_mbps() > 0 ? request.link_rate_mbps()
                                                                : worker.rate_mbps());
  }
  PlaceStages(p, workers, &plan);
  ISTHMUS_RETURN_IF_ERROR(PlaceEdges(p, &plan));
  ISTHMUS_ASSIGN_OR_RETURN(const double step_s, Predict(p, workers, &plan));
  plan.set_predicted_step_s(step_s);
  ISTHMUS_RETURN_IF_ERROR(PredictMemory(p, workers, &plan));
  return plan;
}

}  // namespace

absl::StatusOr<v1::Plan> MakePlan(const v1::PlanRequest& request,
                                  absl::Span<const v1::WorkerInfo> workers,
                                  const std::string& job_id) {
  ISTHMUS_ASSIGN_OR_RETURN(const Problem problem, Understand(request));
  if (request.stages() > problem.middle)
    return InvalidArgument("pipeline.stages: expected at most ", problem.middle,
                           ", one block each, got ", request.stages());
  const int64_t wanted = request.stages();
  if (static_cast<int64_t>(workers.size()) < std::max<int64_t>(1, wanted))
    return Unavailable("workers: expected ", std::max<int64_t>(1, wanted), " ready, got ",
                       workers.size());
  if (wanted > 0) return PlanFor(problem, workers.first(static_cast<size_t>(wanted)), job_id);

  // As many as make the step shorter; a worker that saves less than 2 % is left to somebody else.
  absl::StatusOr<v1::Plan> best = Unavailable("workers: expected some, got none");
  const size_t most = std::min(workers.size(), static_cast<size_t>(problem.middle));
  for (size_t n = 1; n <= most; ++n) {
    absl::StatusOr<v1::Plan> plan = PlanFor(problem, workers.first(n), job_id);
    if (!plan.ok() && best.ok()) break;
    if (!best.ok() || plan->predicted_step_s() < 0.98 * best->predicted_step_s())
      best = std::move(plan);
  }
  return best;
}

}  // namespace isthmus
