// Reading a Plan: who hosts what, which edges touch whom, and the engine's own structs out of the
// messages.
#ifndef ISTHMUS_PIPELINE_PLAN_H_
#define ISTHMUS_PIPELINE_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "compression/codec.h"
#include "engine/stage.h"
#include "isthmus/v1/plan.pb.h"
#include "pipeline/schedule.h"

namespace isthmus {

inline constexpr uint32_t kClientParty = 0;

// Checks everything a party relies on: indices, ranges that join, codecs that parse. Plans come
// from a socket.
absl::Status CheckPlan(const v1::Plan& plan);

std::vector<uint32_t> StagesOfParty(const v1::Plan& plan, uint32_t party);
std::vector<uint32_t> PartyOfStage(const v1::Plan& plan);
std::vector<LayerRange> RangesOfParty(const v1::Plan& plan, uint32_t party);
uint32_t LossParty(const v1::Plan& plan);  // hosts the last stage
// Parties that share an edge with `party`, each once.
std::vector<uint32_t> PeersOnEdges(const v1::Plan& plan, uint32_t party);

TrainSpec TrainSpecFromProto(const v1::TrainSpec& proto);
v1::TrainSpec TrainSpecToProto(const TrainSpec& spec);

// The codec library's view of one direction of an edge. `state_dir`: where a memory-mapped store
// may live.
EdgeShape EdgeShapeOf(const v1::Plan& plan, uint32_t edge, Direction direction,
                      const std::string& state_dir);

absl::StatusOr<Schedule> ScheduleOf(const v1::Plan& plan, uint32_t micro_batches,
                                    bool forward_only);

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_PLAN_H_
