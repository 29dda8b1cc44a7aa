#include "client/plan_preview.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/batches.h"
#include "client/plan_request.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"
#include "pipeline/partitioner.h"
#include "pipeline/plan.h"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<DataFacts> FactsOf(const Job& job, const ModelConfig& config) {
  const auto tokenizer = Tokenizer::Open(job.model);
  if (!tokenizer.ok() && !absl::IsNotFound(tokenizer.status())) return tokenizer.status();
  DatasetOptions options;
  options.sequence_length = job.data.sequence_length;
  options.pack = job.data.pack;
  options.append_eos = job.data.append_eos;
  options.vocab_size = config.vocab_size;
  ISTHMUS_ASSIGN_OR_RETURN(
      const auto documents,
      ReadDocuments(job.data.train, tokenizer.ok() ? tokenizer->get() : nullptr, options));
  ISTHMUS_ASSIGN_OR_RETURN(const auto windows, CutWindows(documents, options));
  DataFacts facts;
  facts.num_windows = static_cast<int64_t>(windows.size());
  const StepWindows steps(facts.num_windows, job.train.micro_batch_size * job.train.micro_batches,
                          job.data.shuffle, job.train.seed);
  facts.total_steps =
      job.train.steps.value_or(job.train.epochs.value_or(1) * steps.steps_per_epoch());
  facts.samples_repeat = facts.total_steps > steps.steps_per_epoch();
  for (const Window& window : windows) {
    facts.max_window_tokens =
        std::max(facts.max_window_tokens, static_cast<int64_t>(window.inputs.size()));
  }
  return facts;
}

// The embedded cluster: as many workers as the job says, of this machine's speed.
std::vector<v1::WorkerInfo> EmbeddedWorkers(const Job& job, double flops) {
  std::vector<v1::WorkerInfo> workers;
  const int64_t wanted = std::max(job.cluster.workers, job.pipeline.stages);
  for (int64_t i = 0; i < wanted; ++i) {
    v1::WorkerInfo worker;
    worker.set_name(absl::StrCat("w", i));
    worker.set_flops(flops);
    worker.set_rate_mbps(job.link.rate_mbps);
    workers.push_back(std::move(worker));
  }
  return workers;
}

std::string Layers(const v1::StageSpec& stage) {
  return absl::StrCat(stage.embedding() ? "embedding, " : "", "blocks ", stage.first_layer(),
                      " to ", stage.last_layer(), stage.head() ? ", head" : "");
}

}  // namespace

absl::StatusOr<PlanPreview> PreviewPlan(const Job& given, std::vector<v1::WorkerInfo> workers,
                                        Engine* engine) {
  Job job = given;
  ISTHMUS_ASSIGN_OR_RETURN(const auto model,
                           engine->OpenModel(job.model, job.init == Init::kPretrained));
  const ModelConfig& config = model->config();
  if (job.data.sequence_length == 0) job.data.sequence_length = config.max_positions;
  if (job.train.lora.targets.empty()) job.train.lora.targets = DefaultLoraTargets(config);
  ISTHMUS_ASSIGN_OR_RETURN(const DataFacts facts, FactsOf(job, config));
  ClientHost host;
  host.embedded = workers.empty();
  ISTHMUS_ASSIGN_OR_RETURN(const ChosenCodec codec,
                           ChooseCodec(job, config, facts, StoresHere(job, config, host.embedded)));
  TrainSpec spec = TrainSpecOf(job);
  spec.threads = host.threads;
  host.speed = MeasureClient(engine, config, spec, std::min<int64_t>(facts.max_window_tokens, 256));
  if (host.embedded) workers = EmbeddedWorkers(job, host.speed.forward_flops);
  ISTHMUS_ASSIGN_OR_RETURN(const v1::PlanRequest request,
                           MakePlanRequest(job, config, model.get(), facts, codec, host));
  PlanPreview preview;
  preview.codec_reason = codec.why;
  ISTHMUS_ASSIGN_OR_RETURN(preview.plan, MakePlan(request, workers, "preview"));
  spec.edge = EdgeSpecOf(job, facts, preview.plan);
  if (spec.edge.weights.empty()) spec.edge.weights = model->packed_format();
  const bool shared = preview.plan.shared_embedding() && LossParty(preview.plan) != kClientParty;
  ISTHMUS_ASSIGN_OR_RETURN(
      MemoryPlan planned,
      engine->PlanMemory(config, spec, RangesOfParty(preview.plan, kClientParty), shared));
  preview.client_memory =
      PlanClientMemory(std::move(planned), preview.plan,
                       job.train.micro_batch_size * facts.max_window_tokens, job.model);
  return preview;
}

std::string PlanPreview::ToJson() const {
  Json parties = Json::array(), stages = Json::array(), edges = Json::array();
  for (const v1::PartySpec& party : plan.parties()) {
    parties.push_back({{"name", party.name()},
                       {"predicted_memory_bytes", party.predicted_memory_bytes()},
                       {"rate_mbps", party.predicted_rate_mbps()}});
  }
  for (const v1::StageSpec& stage : plan.stages()) {
    stages.push_back({{"party", stage.party()},
                      {"first_layer", stage.first_layer()},
                      {"last_layer", stage.last_layer()},
                      {"embedding", stage.embedding()},
                      {"head", stage.head()},
                      {"predicted_forward_s", stage.predicted_forward_s()},
                      {"predicted_backward_s", stage.predicted_backward_s()}});
  }
  for (const v1::EdgeSpec& edge : plan.edges()) {
    edges.push_back(
        {{"edge", edge.index()},
         {"from_stage", edge.from_stage()},
         {"to_stage", edge.to_stage()},
         {"width", edge.width()},
         {"codec", {{"forward", edge.codec_forward()}, {"backward", edge.codec_backward()}}},
         {"predicted_forward_bytes", edge.predicted_forward_bytes()},
         {"predicted_backward_bytes", edge.predicted_backward_bytes()},
         {"store_bytes", edge.store_bytes()}});
  }
  Json json = {{"predicted_step_s", plan.predicted_step_s()},
               {"total_steps", plan.total_steps()},
               {"schedule", plan.schedule()},
               {"micro_batches", plan.micro_batches()},
               {"parties", std::move(parties)},
               {"stages", std::move(stages)},
               {"edges", std::move(edges)}};
  if (client_memory.engine.bytes > 0) {
    json["client_planned_bytes"] = client_memory.total();
    json["client_engine_bytes"] = client_memory.engine.bytes;
  }
  return json.dump() + "\n";
}

std::string PlanPreview::Table() const {
  std::string text = absl::StrFormat(
      "predicted step: %.3f s (%d steps: %.0f s), schedule %s, %d micro-batches\n\n",
      plan.predicted_step_s(), plan.total_steps(),
      plan.predicted_step_s() * static_cast<double>(plan.total_steps()), plan.schedule(),
      plan.micro_batches());
  for (const v1::StageSpec& stage : plan.stages()) {
    const v1::PartySpec& party = plan.parties(static_cast<int>(stage.party()));
    absl::StrAppendFormat(&text, "%-12s %-28s forward %.2f ms, backward %.2f ms a micro-batch\n",
                          party.name(), Layers(stage), 1e3 * stage.predicted_forward_s(),
                          1e3 * stage.predicted_backward_s());
  }
  for (const v1::PartySpec& party : plan.parties()) {
    absl::StrAppendFormat(&text, "%-12s %.0f MB of memory\n", party.name(),
                          1e-6 * static_cast<double>(party.predicted_memory_bytes()));
  }
  for (const v1::EdgeSpec& edge : plan.edges()) {
    absl::StrAppendFormat(
        &text,
        "edge %-7d %s / %s: %d bytes forward, %d backward a micro-batch; store %d bytes an end\n",
        edge.index(), edge.codec_forward(), edge.codec_backward(), edge.predicted_forward_bytes(),
        edge.predicted_backward_bytes(), edge.store_bytes());
  }
  if (client_memory.engine.bytes > 0) absl::StrAppend(&text, client_memory.Text(), "\n");
  return codec_reason.empty() ? text : absl::StrCat(text, codec_reason, "\n");
}

}  // namespace isthmus
