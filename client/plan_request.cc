#include "client/plan_request.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "client/report.h"
#include "link/frame.h"
#include "model/cost.h"
#include "pipeline/plan.h"

namespace isthmus {
namespace {

int64_t AvailableMemoryBytes() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/meminfo", 1 << 20);
  if (!text.ok()) return 0;
  const size_t at = text->find("MemAvailable:");
  long long kib = 0;
  if (at == std::string::npos || std::sscanf(text->c_str() + at, "MemAvailable: %lld", &kib) != 1)
    return 0;
  return static_cast<int64_t>(kib) * 1024;
}

// Of the file system that `folder` is on or will be on; nullopt where it does not tell.
std::optional<int64_t> FreeBytes(const std::string& folder) {
  std::error_code error;
  std::filesystem::path at = std::filesystem::absolute(folder, error);
  while (!std::filesystem::exists(at, error) && at.has_relative_path()) at = at.parent_path();
  const std::filesystem::space_info space = std::filesystem::space(at, error);
  if (error) return std::nullopt;
  return static_cast<int64_t>(space.available);
}

// `ends` ends of edges, both directions of each.
absl::StatusOr<Codec::StateSize> StoreSize(const std::string& forward, const std::string& backward,
                                           const ModelConfig& config, const DataFacts& data,
                                           int64_t ends) {
  Codec::StateSize total;
  for (const auto& [spec, direction] :
       {std::pair(forward, Direction::kForward), std::pair(backward, Direction::kBackward)}) {
    ISTHMUS_ASSIGN_OR_RETURN(const auto codec, Codec::Parse(spec));
    EdgeShape shape;
    shape.width = config.hidden_size;
    shape.direction = direction;
    shape.num_samples = data.num_windows;
    shape.max_sample_tokens = data.max_window_tokens;
    shape.total_steps = data.total_steps;
    const Codec::StateSize size = codec->StateSizeFor(shape);
    total.ram_bytes += ends * size.ram_bytes;
    total.file_bytes += ends * size.file_bytes;
  }
  return total;
}

}  // namespace

int64_t EmbeddedStages(const Job& job, const ModelConfig& config) {
  if (job.pipeline.stages > 0) return job.pipeline.stages;
  return std::min(job.cluster.workers,
                  config.num_layers - job.split.head_layers - job.split.tail_layers);
}

StorePlace StoresHere(const Job& job, const ModelConfig& config, bool embedded) {
  const int64_t back = job.split.labels == LabelsAt::kClient ? 1 : 0;  // the edge to the tail
  const int64_t ends = embedded ? 2 * (EmbeddedStages(job, config) + back) : 1 + back;
  return {ends, absl::StrCat(job.output, "/state")};
}

absl::StatusOr<ChosenCodec> ChooseCodec(const Job& job, const ModelConfig& config,
                                        const DataFacts& data, const StorePlace& place) {
  if (job.codec.given()) return ChosenCodec{job.codec.forward, job.codec.backward, ""};
  // Nothing goes backward. Two losses that differ by little are compared: fp16 does not show.
  if (job.train.estimator == Estimator::kSpsa) {
    return ChosenCodec{"fp16", "none",
                       "codec: auto is fp16 forward, because probes compare losses"};
  }
  constexpr const char* kBackward = "ecq(db=10)";
  std::string forward = "ecq(db=20)";
  std::string why = "samples repeat and the store fits";
  if (data.samples_repeat) {
    ISTHMUS_ASSIGN_OR_RETURN(const Codec::StateSize store,
                             StoreSize(forward, kBackward, config, data, place.ends));
    if (store.ram_bytes > AvailableMemoryBytes() / 2) {
      forward = "ecq(db=20,predict=slot)";
      why = absl::StrFormat("a store of %.1f GB does not fit",
                            1e-9 * static_cast<double>(store.ram_bytes));
    }
  } else {
    forward = "ecq(db=20,predict=slot)";
    why = "every sample is visited once";
  }
  return ChosenCodec{forward, kBackward,
                     absl::StrCat("codec: auto starts with ", forward, " forward, ", kBackward,
                                  " backward, because ", why),
                     true};
}

absl::StatusOr<Codec::StateSize> CheckStores(const ChosenCodec& codec, const ModelConfig& config,
                                             const DataFacts& data, const StorePlace& place) {
  ISTHMUS_ASSIGN_OR_RETURN(const Codec::StateSize store,
                           StoreSize(codec.forward, codec.backward, config, data, place.ends));
  const std::string cause = absl::StrCat(place.ends, " stores of ", data.num_windows,
                                         " samples of ", data.max_window_tokens, " tokens");
  const int64_t available = AvailableMemoryBytes();
  if (available > 0 && store.ram_bytes > available)
    return InvalidArgument("codec: expected stores of at most ", available, " bytes, got ",
                           store.ram_bytes, " for ", cause,
                           " (store=mmap, dtype=int8 or capacity= make them smaller)");
  const std::optional<int64_t> free = FreeBytes(place.folder);
  if (free.has_value() && store.file_bytes > *free)
    return InvalidArgument("codec: expected store files of at most ", *free, " bytes, got ",
                           store.file_bytes, " for ", cause, " (", place.folder,
                           "; dtype=int8 or capacity= make them smaller)");
  return store;
}

TrainSpec TrainSpecOf(const Job& job) {
  TrainSpec spec;
  spec.full = job.train.method == TrainMethod::kFull;
  spec.lora.rank = job.train.lora.rank;
  spec.lora.alpha = job.train.lora.alpha;
  spec.lora.dropout = job.train.lora.dropout;
  spec.lora.targets = job.train.lora.targets;
  const Job::Optimizer& o = job.train.optimizer;
  spec.optimizer = {std::string(Name(o.name)),
                    o.lr,
                    o.beta1,
                    o.beta2,
                    o.eps,
                    o.momentum,
                    o.weight_decay,
                    o.clip_norm};
  spec.probes = job.train.estimator == Estimator::kSpsa ? job.train.spsa.probes : 0;
  spec.recompute = job.train.recompute;
  spec.bf16 = job.dtype == ComputeType::kBf16;
  spec.seed = job.train.seed;
  spec.edge.weights = job.edge.weights;
  spec.edge.memory_limit_bytes = job.edge.memory_limit_bytes;
  spec.edge.update = std::string(Name(job.edge.update));
  return spec;
}

EdgeSpec EdgeSpecOf(const Job& job, const DataFacts& data, const v1::Plan& plan) {
  EdgeSpec edge = TrainSpecOf(job).edge;
  edge.sample_tokens = data.max_window_tokens;
  edge.micro_batch_samples = job.train.micro_batch_size;
  if (job.train.estimator == Estimator::kSpsa) return edge;  // keeps none
  edge.micro_batches_kept = job.train.micro_batches;
  const auto schedule = ScheduleOf(plan, static_cast<uint32_t>(job.train.micro_batches), false);
  if (!schedule.ok()) return edge;
  uint32_t kept = 0;
  for (size_t stage = 0; stage < schedule->max_in_flight.size(); ++stage) {
    if (plan.stages(static_cast<int>(stage)).party() == kClientParty)
      kept = std::max(kept, schedule->max_in_flight[stage]);
  }
  edge.micro_batches_kept = kept;
  return edge;
}

absl::StatusOr<v1::PlanRequest> MakePlanRequest(const Job& job, const ModelConfig& config,
                                                ModelDirectory* model, const DataFacts& data,
                                                const ChosenCodec& codec, const ClientHost& host) {
  v1::PlanRequest request;
  request.set_job_name(std::filesystem::path(job.output).filename().string());
  v1::ModelRef* ref = request.mutable_model();
  ref->set_name(std::filesystem::path(job.model).filename().string());
  ref->set_config_json(config.text);
  ref->set_init_random(job.init == Init::kRandom);
  ref->set_init_seed(job.train.seed);
  if (job.init == Init::kPretrained) {
    ISTHMUS_ASSIGN_OR_RETURN(*ref->mutable_content_id(), model->ContentId());
    ref->set_stored_dtype(std::string(Name(model->stored_dtype())));
  }
  *request.mutable_train() = TrainSpecToProto(TrainSpecOf(job));
  request.set_head_layers(job.split.head_layers);
  request.set_tail_layers(job.split.tail_layers);
  request.set_labels_at_server(job.split.labels == LabelsAt::kServer);
  request.set_codec_forward(codec.forward);
  request.set_codec_backward(codec.backward);
  request.set_schedule(std::string(Name(job.pipeline.schedule)));
  request.set_stages(host.embedded ? EmbeddedStages(job, config) : job.pipeline.stages);
  request.set_micro_batch_size(job.train.micro_batch_size);
  request.set_micro_batches(job.train.micro_batches);
  request.set_sequence_length(data.max_window_tokens);
  request.set_seed(job.train.seed);
  request.set_num_samples(data.num_windows);
  request.set_max_sample_tokens(data.max_window_tokens);
  request.set_total_steps(data.total_steps);
  request.set_client_flops(host.speed.forward_flops);
  request.set_client_backward_flops(host.speed.backward_flops);
  request.set_client_rate_mbps(host.rate_mbps);
  request.set_embedded(host.embedded);
  if (host.embedded) {
    const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
    request.set_shared_cores(static_cast<uint32_t>(std::max<int64_t>(1, cores / host.threads)));
  }
  request.set_link_rate_mbps(job.link.rate_mbps);
  request.set_link_delay_ms(job.link.delay_ms);
  request.set_wire_version(kWireVersion);
  request.set_version(std::string(IsthmusVersion()));
  request.set_wait_s(host.wait_s);
  return request;
}

ClientSpeed MeasureClient(Engine* engine, const ModelConfig& config, const TrainSpec& train,
                          int64_t tokens) {
  const absl::StatusOr<Engine::Speed> speed = engine->MeasureBlock(config, train, tokens);
  CostAssumptions assumptions;
  assumptions.sequence_length = tokens;
  assumptions.lora = train.lora;
  const absl::StatusOr<LayerCost> cost = BlockCost(config, assumptions);
  if (!speed.ok() || !cost.ok() || speed->forward_s <= 0 || speed->backward_s <= 0) return {};
  return {cost->forward_flops / speed->forward_s, cost->backward_flops / speed->backward_s};
}

}  // namespace isthmus
