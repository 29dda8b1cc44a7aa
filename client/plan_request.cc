#include "client/plan_request.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "client/report.h"
#include "compression/codec.h"
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

// One end of one edge, both directions.
absl::StatusOr<Codec::StateSize> StoreOfOneEdge(const std::string& forward,
                                                const std::string& backward,
                                                const ModelConfig& config, const DataFacts& data) {
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
    total.ram_bytes += size.ram_bytes;
    total.file_bytes += size.file_bytes;
  }
  return total;
}

}  // namespace

absl::StatusOr<ChosenCodec> ChooseCodec(const Job& job, const ModelConfig& config,
                                        const DataFacts& data) {
  if (job.codec.given()) return ChosenCodec{job.codec.forward, job.codec.backward, ""};
  constexpr const char* kBackward = "ecq(db=10)";
  std::string forward = "ecq(db=20)";
  std::string why = "samples repeat and the store fits";
  if (data.samples_repeat) {
    ISTHMUS_ASSIGN_OR_RETURN(const Codec::StateSize store,
                             StoreOfOneEdge(forward, kBackward, config, data));
    const int64_t two_edges = 2 * store.ram_bytes;
    if (two_edges > AvailableMemoryBytes() / 2) {
      forward = "ecq(db=20,predict=slot)";
      why =
          absl::StrFormat("a store of %.1f GB does not fit", 1e-9 * static_cast<double>(two_edges));
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

absl::Status CheckStores(const ChosenCodec& codec, const ModelConfig& config, const DataFacts& data,
                         bool client_has_two_edges, std::string* notice) {
  ISTHMUS_ASSIGN_OR_RETURN(Codec::StateSize store,
                           StoreOfOneEdge(codec.forward, codec.backward, config, data));
  if (client_has_two_edges) {
    store.ram_bytes *= 2;
    store.file_bytes *= 2;
  }
  const int64_t available = AvailableMemoryBytes();
  if (available > 0 && store.ram_bytes > available)
    return InvalidArgument("codec: expected a store of at most ", available, " bytes, got ",
                           store.ram_bytes, " for ", data.num_windows, " samples of ",
                           data.max_window_tokens,
                           " tokens (store=mmap, dtype=int8 or capacity= make it smaller)");
  std::error_code error;
  const auto space = std::filesystem::space(std::filesystem::temp_directory_path(error), error);
  if (!error && store.file_bytes > static_cast<int64_t>(space.available))
    return InvalidArgument("codec: expected a store file of at most ", space.available,
                           " bytes, got ", store.file_bytes);
  if (store.ram_bytes + store.file_bytes > (int64_t{1} << 20))
    *notice = absl::StrFormat("codec store at this end: %.1f MB in memory, %.1f MB in files",
                              1e-6 * static_cast<double>(store.ram_bytes),
                              1e-6 * static_cast<double>(store.file_bytes));
  return absl::OkStatus();
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
  spec.recompute = job.train.recompute;
  spec.bf16 = job.dtype == ComputeType::kBf16;
  spec.seed = job.train.seed;
  return spec;
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
  // An embedded cluster has just the workers that were asked for, at most one a block.
  const int64_t middle = config.num_layers - job.split.head_layers - job.split.tail_layers;
  const int64_t embedded_stages =
      job.pipeline.stages > 0 ? job.pipeline.stages : std::min(job.cluster.workers, middle);
  request.set_stages(host.embedded ? embedded_stages : job.pipeline.stages);
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
