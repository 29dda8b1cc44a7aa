#include "pipeline/plan.h"

#include <algorithm>

#include "base/status.h"

namespace isthmus {

absl::Status CheckPlan(const v1::Plan& plan) {
  const int stages = plan.stages_size();
  if (stages < 2 || stages > 1024)
    return InvalidArgument("plan: expected 2 to 1024 stages, got ", stages);
  if (plan.edges_size() != stages - 1)
    return InvalidArgument("plan: expected ", stages - 1, " edges, got ", plan.edges_size());
  if (plan.micro_batches() < 1 || plan.micro_batches() > 65536)
    return InvalidArgument("plan: expected 1 to 65536 micro-batches, got ", plan.micro_batches());
  int64_t layer = 0;
  for (int s = 0; s < stages; ++s) {
    const v1::StageSpec& stage = plan.stages(s);
    if (stage.party() >= static_cast<uint32_t>(plan.parties_size()))
      return InvalidArgument("plan: expected a party below ", plan.parties_size(), ", got ",
                             stage.party(), " (stage ", s, ")");
    if (stage.first_layer() != layer || stage.last_layer() < layer)
      return InvalidArgument("plan: expected layers from ", layer, ", got ", stage.first_layer(),
                             " to ", stage.last_layer(), " (stage ", s, ")");
    if (stage.embedding() != (s == 0) || stage.head() != (s == stages - 1))
      return InvalidArgument("plan: expected the embedding first and the head last (stage ", s,
                             ")");
    if (s > 0 && stage.party() == plan.stages(s - 1).party())
      return InvalidArgument("plan: expected neighbouring stages at different parties (stage ", s,
                             ")");
    layer = stage.last_layer();
  }
  for (int e = 0; e < plan.edges_size(); ++e) {
    const v1::EdgeSpec& edge = plan.edges(e);
    if (edge.index() != static_cast<uint32_t>(e) || edge.width() < 1 ||
        edge.width() > (int64_t{1} << 24))
      return InvalidArgument("plan: expected edge ", e, " with a width, got index ", edge.index(),
                             " width ", edge.width());
    for (const std::string& codec : {edge.codec_forward(), edge.codec_backward()})
      ISTHMUS_RETURN_IF_ERROR(Codec::Parse(codec).status());
  }
  return MakeSchedule(plan.schedule(), {PartyOfStage(plan), 1, false}).status();
}

std::vector<uint32_t> StagesOfParty(const v1::Plan& plan, uint32_t party) {
  std::vector<uint32_t> stages;
  for (int s = 0; s < plan.stages_size(); ++s)
    if (plan.stages(s).party() == party) stages.push_back(static_cast<uint32_t>(s));
  return stages;
}

std::vector<uint32_t> PartyOfStage(const v1::Plan& plan) {
  std::vector<uint32_t> parties;
  for (const v1::StageSpec& stage : plan.stages()) parties.push_back(stage.party());
  return parties;
}

std::vector<LayerRange> RangesOfParty(const v1::Plan& plan, uint32_t party) {
  std::vector<LayerRange> ranges;
  for (const uint32_t s : StagesOfParty(plan, party)) {
    const v1::StageSpec& stage = plan.stages(static_cast<int>(s));
    ranges.push_back({stage.first_layer(), stage.last_layer(), stage.embedding(), stage.head()});
  }
  return ranges;
}

uint32_t LossParty(const v1::Plan& plan) { return plan.stages(plan.stages_size() - 1).party(); }

std::vector<uint32_t> PeersOnEdges(const v1::Plan& plan, uint32_t party) {
  std::vector<uint32_t> peers;
  for (int e = 0; e < plan.edges_size(); ++e) {
    const uint32_t a = plan.stages(e).party(), b = plan.stages(e + 1).party();
    if (a == party) peers.push_back(b);
    if (b == party) peers.push_back(a);
  }
  std::sort(peers.begin(), peers.end());
  peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
  return peers;
}

TrainSpec TrainSpecFromProto(const v1::TrainSpec& p) {
  TrainSpec spec;
  spec.full = p.full();
  spec.frozen = p.frozen();
  spec.lora.rank = p.lora().rank();
  spec.lora.alpha = p.lora().alpha();
  spec.lora.dropout = p.lora().dropout();
  spec.lora.targets.assign(p.lora().targets().begin(), p.lora().targets().end());
  spec.lora.use_rslora = p.lora().use_rslora();
  const v1::OptimizerSpec& o = p.optimizer();
  spec.optimizer = {o.name(), o.lr(),       o.beta1(),        o.beta2(),
                    o.eps(),  o.momentum(), o.weight_decay(), o.clip_norm()};
  spec.probes = p.probes();
  spec.recompute = p.recompute();
  spec.bf16 = p.bf16();
  spec.seed = p.seed();
  return spec;
}

v1::TrainSpec TrainSpecToProto(const TrainSpec& spec) {
  v1::TrainSpec p;
  p.set_full(spec.full);
  p.set_frozen(spec.frozen);
  p.mutable_lora()->set_rank(spec.lora.rank);
  p.mutable_lora()->set_alpha(spec.lora.alpha);
  p.mutable_lora()->set_dropout(spec.lora.dropout);
  for (const std::string& target : spec.lora.targets) p.mutable_lora()->add_targets(target);
  p.mutable_lora()->set_use_rslora(spec.lora.use_rslora);
  v1::OptimizerSpec* o = p.mutable_optimizer();
  o->set_name(spec.optimizer.name);
  o->set_lr(spec.optimizer.lr);
  o->set_beta1(spec.optimizer.beta1);
  o->set_beta2(spec.optimizer.beta2);
  o->set_eps(spec.optimizer.eps);
  o->set_momentum(spec.optimizer.momentum);
  o->set_weight_decay(spec.optimizer.weight_decay);
  o->set_clip_norm(spec.optimizer.clip_norm);
  p.set_probes(static_cast<uint32_t>(spec.probes));
  p.set_recompute(spec.recompute);
  p.set_bf16(spec.bf16);
  p.set_seed(spec.seed);
  return p;
}

EdgeShape EdgeShapeOf(const v1::Plan& plan, uint32_t edge, Direction direction,
                      const std::string& state_dir) {
  EdgeShape shape;
  shape.width = plan.edges(static_cast<int>(edge)).width();
  shape.edge = edge;
  shape.direction = direction;
  shape.seed = plan.seed();
  shape.num_samples = plan.num_samples();
  shape.max_sample_tokens = plan.max_sample_tokens();
  shape.total_steps = plan.total_steps();
  shape.state_dir = state_dir;
  // With one worker between, the client numbered the rows that come back.
  const std::vector<uint32_t> parties = PartyOfStage(plan);
  shape.shared_row_ids = direction == Direction::kForward && edge == 1 && parties.size() == 3 &&
                         parties.back() == kClientParty;
  return shape;
}

absl::StatusOr<Schedule> ScheduleOf(const v1::Plan& plan, uint32_t micro_batches,
                                    bool forward_only) {
  return MakeSchedule(plan.schedule(), {PartyOfStage(plan), micro_batches, forward_only});
}

}  // namespace isthmus
